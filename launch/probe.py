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
  """Plays with the agent, and prints three tables: of the RAM, of effects, and of ways to act."""
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  cli.use_devices(1)
  import jax

  from muzero_jax import build
  from muzero_jax.envs import envpool
  from muzero_jax.evaluation import effects, probe
  from muzero_jax.runs import restore

  agent = restore.restore(options.workdir)
  config, task = agent.config, agent.config.env.task
  if not build.is_atari(config):
    raise ConfigError(
      f"--workdir={options.workdir}: a run of {task}, and only Atari games have a RAM to look into."
    )
  if options.json:
    cli.write(options.json, "")
  key = jax.random.key(config.seed + options.seed)
  actors = effects.actors(agent.model, agent.search, config.targets.discount)

  def record(name: str, randomness: float) -> probe.Recording:
    seed = build.env_seed(config.seed + options.seed, -3)
    games = envpool.Observed(task, options.num_envs, seed, build.atari(config))
    return probe.record(
      agent.model,
      agent.params,
      actors[name],
      games,
      key,
      stack=config.env.stack,
      steps=options.steps,
      randomness=randomness,
    )

  recording = record("search, as in training", 0.5)
  names = probe.NAMES.get(task, {})
  chosen = list(names) or probe.changing(recording, options.bytes)
  labels = [f"{names[byte]} (byte {byte})" if byte in names else f"byte {byte}" for byte in chosen]
  predicted = {n: probe.predict(agent.model, agent.params, recording, n) for n in probe.AHEAD}
  found = probe.explained(recording, predicted, chosen, needed=list(names))
  print(
    f"{task} after {agent.env_steps:,} steps: fraction of the variance explained in environments "
    "left out of the fit"
  )
  print(probe.table(found, labels))
  returns = build.make_returns(config)
  on_value = {
    n: effects.value_effect(agent.model, agent.params, recording, key, returns, n)
    for n in probe.AHEAD
  }
  print("\neffect of actions on the value, compared with random actions, in units of return")
  print(effects.table(on_value))
  rates = {name: effects.reward_rate(record(name, 0.0)) for name in actors}
  print("\nraw reward per 1,000 agent steps, by way to act")
  print(effects.rates_table(rates))
  if options.json:
    result = {"task": task, "env_steps": agent.env_steps, "bytes": chosen, "labels": labels}
    result |= {name: list(map(float, x)) for name, x in found.items()}
    result["effects"] = {n: dataclasses.asdict(effect) for n, effect in on_value.items()}
    cli.write(options.json, json.dumps(result | {"rates": rates}, indent=2) + "\n")


if __name__ == "__main__":
  cli.run(main)
