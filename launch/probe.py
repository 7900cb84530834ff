"""Measures what hidden states know about an Atari game, by regressions to the emulator's RAM.

muzero-jax probe --workdir=DIR [--steps=500] [--num_envs=32] [--seed=N] [--json=FILE]

The regressions also show whether the dynamics network predicts the effects of actions, 1, 3 and 5
steps ahead.
"""

import dataclasses
import json

from launch import cli
from muzero_jax.config import ConfigError, option


@dataclasses.dataclass(frozen=True)
class Options:
  """What to record."""

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
  """Plays with the agent, fits the regressions, and prints the table."""
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  cli.use_devices(1)
  import jax

  from muzero_jax import build
  from muzero_jax.envs import envpool
  from muzero_jax.evaluation import probe
  from muzero_jax.runs import restore

  agent = restore.restore(options.workdir)
  task = agent.config.env.task
  if not build.is_atari(agent.config):
    raise ConfigError(
      f"--workdir={options.workdir}: a run of {task}, and only Atari games have a RAM to look into."
    )
  if options.json:
    cli.write(options.json, "")
  seed = build.env_seed(agent.config.seed + options.seed, -3)
  games = envpool.Observed(task, options.num_envs, seed, build.atari(agent.config))
  recording = probe.record(
    agent.model,
    agent.params,
    agent.search,
    games,
    jax.random.key(agent.config.seed + options.seed),
    stack=agent.config.env.stack,
    steps=options.steps,
  )
  names = probe.NAMES.get(task, {})
  chosen = list(names) or probe.changing(recording, options.bytes)
  labels = [f"{names[byte]} (byte {byte})" if byte in names else f"byte {byte}" for byte in chosen]
  predicted = {
    ahead: probe.predict(agent.model, agent.params, recording, ahead) for ahead in probe.AHEAD
  }
  found = probe.explained(recording, predicted, chosen, needed=list(names))
  print(
    f"{task} after {agent.env_steps:,} steps: fraction of the variance explained in environments "
    "left out of the fit"
  )
  print(probe.table(found, labels))
  effects = {
    ahead: probe.value_effect(
      agent.model,
      agent.params,
      recording,
      jax.random.key(options.seed),
      build.make_returns(agent.config),
      ahead,
    )
    for ahead in probe.AHEAD
  }
  print("effect of actions on the value, compared with random actions, in units of return")
  print(probe.effects_table(effects))
  if options.json:
    result = {"task": task, "env_steps": agent.env_steps, "bytes": chosen, "labels": labels}
    result["effects"] = {ahead: dataclasses.asdict(effect) for ahead, effect in effects.items()}
    cli.write(
      options.json,
      json.dumps(result | {name: list(map(float, x)) for name, x in found.items()}, indent=2)
      + "\n",
    )


if __name__ == "__main__":
  cli.run(main)
