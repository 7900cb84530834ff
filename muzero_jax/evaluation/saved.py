"""Evaluates saved agents, of runs and of exported files, once more."""

from collections.abc import Sequence
from typing import Any

from muzero_jax import config as configs
from muzero_jax.config import StorageError
from muzero_jax.evaluation import aggregate, protocols, scores, scoring
from muzero_jax.evaluation.aggregate import Evaluated
from muzero_jax.runs import exported, jsonl, progress


def checked(folders: Sequence[str], protocol: str, acting: str) -> list[Evaluated]:
  """Checks that all runs can be evaluated, before the first episode is played.

  Args:
    folders: of runs, or files of exported agents.
    protocol: that is asked for, as in `--protocol`.
    acting: likewise.

  Returns:
    The runs, whose rows have no scores yet.

  Raises:
    ConfigError: a folder has no run or no checkpoint, the runs cannot be combined, or a run cannot
      be scored under the protocol.
  """
  runs = []
  for folder in folders:
    config = protocols.acting_as(exported.settings(folder), acting)
    row = {
      "protocol": protocols.for_protocol(config, protocol)[0],
      "task": scores.task_name(config.env.kind, config.env.task),
    }
    runs.append(Evaluated(folder, config, row))
  aggregate.check(runs)
  for folder in folders:
    exported.check(folder)
  return runs


def play(
  folder: str, agent: str, protocol: str, acting: str, *, episodes: int, num_envs: int, seed: int
) -> dict[str, Any]:
  """Evaluates one run, prints its scores, and returns the new row of evaluations.jsonl.

  Args:
    folder: of the run, or the file of an exported agent.
    agent: "trained" or "random".
    protocol: that is asked for, as in `--protocol`.
    acting: likewise.
    episodes: number of full episodes, at least 1.
    num_envs: number of environments that are stepped at the same time.
    seed: added to the run's.

  Raises:
    StorageError: the row cannot be written there.
  """
  found = exported.load(folder)
  changes = {
    "evaluation.episodes": episodes,
    "evaluation.random_episodes": episodes,
    "evaluation.num_envs": num_envs,
    "seed": found.config.seed + seed,
  }
  config = configs.replace(protocols.acting_as(found.config, acting), changes)
  scorer = scoring.Scoring(config, found.folder, found.model, found.search, protocol)
  row = scorer.evaluate(found.params, found.env_steps, agent)
  assert row is not None  # there is at least one episode
  returns = " ".join(f"{score:g}" for score in row["returns"])
  print(f"returns, protocol {row['protocol']}: {returns}")
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
