"""Plays whole games with a run's newest checkpoint, appends the scores to evaluations.jsonl and prints them.

python -m launch.evaluate --workdir=DIR --episodes=N [--protocol=100k|machado]
"""

import dataclasses

from launch import cli
from muzero_jax.config import option


@dataclasses.dataclass(frozen=True)
class Options:
  """What to play."""

  workdir: str = option("", "folder of the run")
  episodes: int = option(30, "whole games", minimum=1)
  protocol: str = option(
    "auto", "Atari: sticky actions and start (100k or machado); auto: that of the action set", choices=("auto", "100k", "machado")
  )
  num_envs: int = option(32, "games at a time", minimum=1)
  seed: int = option(0, "added to the run's: other games", minimum=0, maximum=2**20)
  random: bool = option(False, "a random player instead of the agent")


def main(argv: list[str]) -> None:
  """Reads the flags, restores, plays."""
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  cli.use_devices(1)
  from muzero_jax import restore, scoring

  agent = restore.restore(options.workdir)
  evaluation = dataclasses.replace(
    agent.config.evaluation, episodes=options.episodes, random_episodes=options.episodes, num_envs=options.num_envs
  )
  config = dataclasses.replace(agent.config, evaluation=evaluation, seed=agent.config.seed + options.seed)
  scores = scoring.Scoring(config, agent.folder, agent.model, agent.search, options.protocol)
  row = scores.evaluate(agent.params, agent.env_steps, "random" if options.random else "trained")
  assert row is not None  # options ask for at least one game
  print(" ".join(f"{score:g}" for score in row["returns"]))
  print(scoring.sentence(row))


if __name__ == "__main__":
  cli.run(main)
