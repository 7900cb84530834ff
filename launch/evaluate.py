"""Plays whole games with a run's newest checkpoint, appends the scores to evaluations.jsonl and
prints them.

muzero-jax evaluate --workdir=DIR[,DIR...] --episodes=N [--protocol=100k|machado] [--json=FILE]
muzero-jax evaluate --aggregate --workdir=DIR[,DIR...] [--protocol=100k|machado] [--json=FILE]
"""

import dataclasses
import json
from typing import Any

from launch import cli
from muzero_jax.config import option


@dataclasses.dataclass(frozen=True)
class Options:
  """What to play."""

  workdir: str = option(
    "", "folder of the run; several, with commas between, are seeds and games of one result"
  )
  episodes: int = option(30, "whole games", minimum=1)
  protocol: str = option(
    "auto",
    "Atari: sticky actions and start (100k or machado); auto: that of the action set",
    choices=("auto", "100k", "machado"),
  )
  num_envs: int = option(32, "games at a time", minimum=1)
  seed: int = option(0, "added to the run's: other games", minimum=0, maximum=2**20)
  random: bool = option(False, "a random player instead of the agent")
  aggregate: bool = option(False, "play nothing: sum up the newest evaluation in each folder")
  json: str = option("", "write the result over all folders to this file, too")


def main(argv: list[str]) -> None:
  """Reads the flags, plays or reads what was played, sums up."""
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  folders = [folder.strip() for folder in options.workdir.split(",") if folder.strip()] or [""]
  from muzero_jax.evaluation import aggregate

  agent = "random" if options.random else "trained"
  if options.json:
    cli.write(options.json, "")  # before any game: it may not be possible
  if options.aggregate:
    runs = [aggregate.newest(folder, agent, options.protocol) for folder in folders]
  else:
    runs = [
      dataclasses.replace(run, row=play(run.folder, agent, options))
      for run in plan(folders, options.protocol)
    ]
  if options.aggregate or options.json or len(runs) > 1:
    result = aggregate.aggregate(runs)
    print(aggregate.table(result))
    if options.json:
      cli.write(options.json, json.dumps(result, indent=2) + "\n")


def plan(folders: list[str], protocol: str) -> list[Any]:
  """The runs (`aggregate.Run`) that are about to be played, without scores; what cannot be is
  refused before the first game.

  Raises:
    ConfigError: a folder without a run, runs that do not belong together, a protocol that does not
      fit.
  """
  cli.use_devices(1)
  from muzero_jax.evaluation import aggregate, protocols, scoring
  from muzero_jax.runs import restore, workdir

  runs = []
  for folder in folders:
    _, config = workdir.find(folder)
    row = {
      "protocol": protocols.for_protocol(config, protocol)[0],
      "task": scoring.task_name(config),
    }
    runs.append(aggregate.Run(folder, config, row))
  aggregate.check(runs)
  for folder in folders:
    restore.newest(folder)
  return runs


def play(folder: str, agent: str, options: Options) -> dict[str, Any]:
  """Plays one run's games, prints how they went and returns the row that evaluations.jsonl now
  has.
  """
  from muzero_jax.evaluation import scoring
  from muzero_jax.runs import restore

  found = restore.restore(folder)
  evaluation = dataclasses.replace(
    found.config.evaluation,
    episodes=options.episodes,
    random_episodes=options.episodes,
    num_envs=options.num_envs,
  )
  config = dataclasses.replace(
    found.config, evaluation=evaluation, seed=found.config.seed + options.seed
  )
  scores = scoring.Scoring(config, found.folder, found.model, found.search, options.protocol)
  row = scores.evaluate(found.params, found.env_steps, agent)
  assert row is not None  # options ask for at least one game
  print(
    f"returns, protocol {row['protocol']}: {' '.join(f'{score:g}' for score in row['returns'])}"
  )
  print(scoring.details(row), scoring.sentence(row), sep="\n", flush=True)
  return row


if __name__ == "__main__":
  cli.run(main)
