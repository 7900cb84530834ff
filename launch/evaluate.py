"""Plays full episodes with the newest checkpoints of runs, and prints their scores.

muzero-jax evaluate --workdir=DIR[,DIR...] --episodes=N [--protocol=100k|machado]
    [--acting=greedy|sampled] [--json=FILE]
muzero-jax evaluate --aggregate --workdir=DIR[,DIR...] [--protocol=100k|machado]
    [--acting=greedy|sampled] [--json=FILE]

The scores are appended to evaluations.jsonl in each run's folder; for the file of an exported
agent (launch.export), in the folder FILE.results beside it. Several runs are combined into
one result. A folder without a run stands for all runs below it. With --aggregate nothing is played:
the newest evaluation of each run is read instead.
"""

import dataclasses
import json
from typing import Any

from launch import cli
from muzero_jax.config import StorageError, option


@dataclasses.dataclass(frozen=True)
class Options:
  """What to evaluate."""

  workdir: str = option(
    "",
    "folder of the run, or one with runs below it, or the file of an exported agent; several, with "
    "commas between, are combined over seeds and games",
  )
  episodes: int = option(30, "full episodes to play with each run", minimum=1)
  protocol: str = option(
    "auto",
    "Atari: the protocol, which sets sticky actions and no-op starts; machado is called "
    "machado-minimal where the run has not all 18 actions; auto: that of the action set",
    choices=("auto", "100k", "machado"),
  )
  acting: str = option(
    "auto",
    "greedy: without exploration; sampled: as in training; auto: the run's --evaluation.acting",
    choices=("auto", "greedy", "sampled"),
  )
  num_envs: int = option(32, "environments that are stepped at the same time", minimum=1)
  seed: int = option(0, "added to the run's seed, to play other episodes", minimum=0, maximum=2**20)
  random: bool = option(False, "evaluate a random player instead of the agent")
  aggregate: bool = option(False, "play nothing: combine the newest evaluation in each folder")
  json: str = option("", "write the result of all folders to this file, too")


def main(argv: list[str]) -> None:
  """Evaluates the runs, or reads their evaluations, and combines them into one result."""
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  from muzero_jax.evaluation import aggregate
  from muzero_jax.runs import workdir

  folders = workdir.runs(options.workdir)

  agent = "random" if options.random else "trained"
  if options.json:
    cli.write(options.json, "")  # an unwritable file is reported before anything is played
  if options.aggregate:
    runs = [
      aggregate.last_evaluation(folder, agent, options.protocol, options.acting)
      for folder in folders
    ]
  else:
    runs = [
      dataclasses.replace(run, row=play(run.folder, agent, options))
      for run in checked(folders, options)
    ]
  if options.aggregate or options.json or len(runs) > 1:
    result = aggregate.aggregate(runs)
    print(aggregate.table(result))
    if options.json:
      cli.write(options.json, json.dumps(result, indent=2) + "\n")


def checked(folders: list[str], options: Options) -> list[Any]:
  """Checks that all runs can be evaluated, before the first episode is played.

  Returns:
    The runs as `aggregate.Evaluated`, whose rows have no scores yet.

  Raises:
    ConfigError: a folder has no run or no checkpoint, the runs cannot be combined, or a run cannot
      be scored under the protocol.
  """
  cli.use_devices(1)
  from muzero_jax.evaluation import aggregate, protocols, scores
  from muzero_jax.runs import exported

  runs = []
  for folder in folders:
    config = protocols.acting_as(exported.settings(folder), options.acting)
    row = {
      "protocol": protocols.for_protocol(config, options.protocol)[0],
      "task": scores.task_name(config.env.kind, config.env.task),
    }
    runs.append(aggregate.Evaluated(folder, config, row))
  aggregate.check(runs)
  for folder in folders:
    exported.check(folder)
  return runs


def play(folder: str, agent: str, options: Options) -> dict[str, Any]:
  """Evaluates one run, prints its scores, and returns the new row of evaluations.jsonl.

  Raises:
    StorageError: the row cannot be written there.
  """
  from muzero_jax.evaluation import protocols, scores, scoring
  from muzero_jax.runs import exported, jsonl, progress

  found = exported.load(folder)
  config = protocols.acting_as(found.config, options.acting)
  evaluation = dataclasses.replace(
    config.evaluation,
    episodes=options.episodes,
    random_episodes=options.episodes,
    num_envs=options.num_envs,
  )
  config = dataclasses.replace(config, evaluation=evaluation, seed=config.seed + options.seed)
  scorer = scoring.Scoring(config, found.folder, found.model, found.search, options.protocol)
  row = scorer.evaluate(found.params, found.env_steps, agent)
  assert row is not None  # --episodes is at least 1
  print(
    f"returns, protocol {row['protocol']}: {' '.join(f'{score:g}' for score in row['returns'])}"
  )
  print(*map(progress.fitted, (scores.details(row), scores.sentence(row))), sep="\n", flush=True)
  path = found.folder / "evaluations.jsonl"
  try:
    found.folder.mkdir(exist_ok=True)
    jsonl.append(path, row)
  except OSError as error:
    raise StorageError(
      f"the scores above could not be appended to {path} ({error.strerror})."
    ) from error
  return row


if __name__ == "__main__":
  cli.run(main)
