"""Measures what hidden states and Q know about an Atari game, and what the search adds.

muzero-jax probe --workdir=DIR [--steps=500] [--num_envs=32] [--seed=N] [--json=FILE]

Regressions to the emulator's RAM show what hidden states know, and whether the dynamics network
predicts the effects of actions 1, 3 and 5 steps ahead; then follow effects of actions on the value,
and the reward that different ways to act collect. docs/diagnostics.md says how to read the tables.
"""

import dataclasses
import json

from launch import cli
from muzero_jax.config import ConfigError, option


@dataclasses.dataclass(frozen=True)
class Options:
  workdir: str = option("", "folder of the run")
  steps: int = option(500, "agent steps in each environment", minimum=10)
  num_envs: int = option(
    32, "environments: half of them are for fitting, half for testing", minimum=2
  )
  seed: int = option(0, "added to the run's seed, to play other episodes", minimum=0, maximum=2**20)
  bytes: int = option(
    16, "RAM bytes to predict in a game whose bytes have no known meaning", minimum=1, maximum=128
  )
  json: str = option("", "write the result to this file, too")


def main(argv: list[str]) -> None:
  """Plays with the agent, and prints three tables: of the RAM, of effects, and of ways to act."""
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  cli.use_devices(1)
  from muzero_jax import build
  from muzero_jax.evaluation import effects, probe
  from muzero_jax.evaluation.examination import Examination
  from muzero_jax.runs import restore

  agent = restore.restore(options.workdir)
  task = agent.config.env.task
  if not build.is_atari(agent.config):
    raise ConfigError(
      f"--workdir={options.workdir}: a run of {task}, and only Atari games have a RAM to look into."
    )
  if options.json:
    cli.write(options.json, "")
  examination = Examination(agent, options.num_envs, options.steps, options.seed)
  labels = examination.labels(options.bytes)
  explained = examination.explained(labels)
  print(
    f"{task} after {agent.env_steps:,} steps: fraction of the variance explained in environments "
    "left out of the fit"
  )
  print(probe.table(explained, list(labels.values())))
  on_value = examination.effects()
  print("\neffect of actions on the value, compared with random actions, in units of return")
  print(effects.table(on_value))
  rates = examination.rates()
  print("\nraw reward per 1,000 agent steps, by way to act")
  print(effects.rates_table(rates))
  if options.json:
    result = {"task": task, "env_steps": agent.env_steps}
    result |= {"bytes": list(labels), "labels": list(labels.values())}
    result |= {name: list(map(float, x)) for name, x in explained.items()}
    result["effects"] = {n: dataclasses.asdict(effect) for n, effect in on_value.items()}
    cli.write(options.json, json.dumps(result | {"rates": rates}, indent=2) + "\n")


if __name__ == "__main__":
  cli.run(main)
