"""Reads the settings, metrics and evaluations of runs, for reports and plots.

The runs may still be training, may have been killed, or may have been made by an earlier version of
the package.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from muzero_jax import config as configs
from muzero_jax.config import Config
from muzero_jax.evaluation.scores import task_name
from muzero_jax.runs import jsonl, workdir

Line = tuple[np.ndarray, np.ndarray]  # a curve: x f64[n], y f64[n]


@dataclasses.dataclass(frozen=True)
class RunRecord:
  """The contents of a run's folder."""

  folder: Path
  facts: dict[str, Any]  # the contents of config.json
  # dotted name -> value. A setting that did not exist in the run's version has today's default.
  settings: dict[str, Any]
  rows: list[dict[str, Any]]  # of metrics.jsonl
  evaluations: list[dict[str, Any]]  # the rows of evaluations.jsonl that have a score

  @property
  def task(self) -> str:
    return task_name(str(self.settings["env.kind"]), str(self.settings["env.task"]))

  def last(self, name: str) -> Any:
    """The last value of a metric in `rows`, or None when it has none."""
    values = (row[name] for row in reversed(self.rows) if jsonl.is_number(row.get(name)))
    return next(values, None)

  def line(self, x: str, y: str) -> Line:
    """The curve of metric y over metric x, from the rows that have both."""
    pairs = [
      (row[x], row[y]) for row in self.rows if all(jsonl.is_number(row.get(n)) for n in (x, y))
    ]
    columns = np.asarray(pairs, np.float64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]

  def curve(self, x: str, y: str) -> Line:
    """As `line`, without rows of intervals that were cut short, where the run ended or was stopped.

    Those are intervals of less than half as many agent steps as the ones before and after. They
    hold too little to be a point like the others.
    """
    steps = [row.get("env_steps") for row in self.rows]
    if len(steps) < 4 or not all(map(jsonl.is_number, steps)):
      return self.line(x, y)
    sizes = np.diff(np.asarray(steps, np.float64), prepend=0.0)
    beside = np.concatenate([[np.inf], sizes, [np.inf]])
    cut = 2 * sizes < np.minimum(beside[:-2], beside[2:])
    whole = [row for row, left_out in zip(self.rows, cut, strict=True) if not left_out]
    return dataclasses.replace(self, rows=whole).line(x, y)

  def scores(self, agent: str) -> list[dict[str, Any]]:
    """The evaluations of the "trained" agent or of the "random" player."""
    return [
      row for row in self.evaluations if (row.get("agent") == "random") == (agent == "random")
    ]


@dataclasses.dataclass(frozen=True)
class Group:
  """Runs whose settings are equal, except for the seed and the settings in `config.FREE`.

  The latter are those that may change when a run is resumed.
  """

  number: int  # counts groups from 0; selects the color
  label: str  # the settings in which the groups differ
  runs: list[RunRecord]

  @property
  def task(self) -> str:
    return self.runs[0].task

  @property
  def name(self) -> str:
    """A name for the head of a column: the label, or a number where the label is too long."""
    return self.label if len(self.label) <= 40 else f"settings {self.number + 1}"

  @property
  def seeds(self) -> str:
    """Lists the seeds: "seed 3" or "seeds 0, 1"."""
    seeds = [str(run.settings["seed"]) for run in self.runs]
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}"


def read(name: str | Path) -> RunRecord:
  """Reads a run's folder.

  Raises:
    ConfigError: the folder has no run, or one of its files cannot be used.
  """
  folder = workdir.place(name)
  facts = workdir.facts(folder)
  settings = configs.values(Config()) | facts["config"]
  scored = [row for row in jsonl.read(folder / "evaluations.jsonl") if "mean" in row]
  return RunRecord(folder, facts, settings, jsonl.read(folder / "metrics.jsonl"), scored)


def videos(folder: Path) -> list[Path]:
  """The videos of a run, the newest last, without those that are being written.

  Symbolic links are not followed: what they lead to is not part of the run, and a report may be
  passed on to others.
  """
  place = folder / "video"
  found = [] if place.is_symlink() else place.glob("[!.]*.mp4")
  return sorted(filter(workdir.is_own_file, found), key=lambda path: path.stat().st_mtime)


def names(runs: Sequence[RunRecord]) -> list[str]:
  """The names of the runs' folders, or their paths where several have the same name."""
  found = [run.folder.name for run in runs]
  return [
    str(run.folder) if found.count(name) > 1 else name
    for run, name in zip(runs, found, strict=True)
  ]


def grouped(runs: Sequence[RunRecord], apart_from: tuple[str, ...] = ()) -> list[Group]:
  """Groups runs with equal settings (see `Group`), in the order of each group's first run.

  Args:
    runs: the runs.
    apart_from: further settings, or groups with a dot, in which the runs of a group may differ.
  """
  ignored = (*configs.FREE, *apart_from)
  settings = [name for name in differing(runs) if name != "seed" and not name.startswith(ignored)]
  groups: dict[tuple, list[RunRecord]] = {}
  for run in runs:
    groups.setdefault(tuple(str(run.settings.get(name)) for name in settings), []).append(run)
  labels = [
    ", ".join(f"{name}={value}" for name, value in zip(settings, key, strict=True))
    for key in groups
  ]
  members = list(groups.values())
  return [Group(i, label or members[i][0].task, members[i]) for i, label in enumerate(labels)]


def differing(runs: Sequence[RunRecord]) -> list[str]:
  """Names of the settings that are not equal in all runs."""
  names = dict.fromkeys(name for run in runs for name in run.settings)
  return [name for name in names if len({str(run.settings.get(name)) for run in runs}) > 1]


def thin(line: Line, points: int) -> Line:
  """Reduces a curve to at most `points` points by averaging y over equally many neighbors.

  Each new point has the largest x of its neighbors. The last point may have fewer neighbors.
  """
  size = -(-len(line[0]) // points)
  if size <= 1:
    return line
  starts = np.arange(0, len(line[0]), size)
  counts = np.diff(np.append(starts, len(line[0])))
  return line[0][starts + counts - 1], np.add.reduceat(line[1], starts) / counts


def resampled(lines: Sequence[Line], points: int) -> tuple[np.ndarray, np.ndarray] | None:
  """Interpolates several curves linearly to the same x, over the range that all of them cover.

  Args:
    lines: the curves.
    points: number of x values, evenly spaced.

  Returns:
    x f64[points] and y f64[lines, points]; None when the curves have no range in common.
  """
  if not lines or not all(len(x) for x, _ in lines):
    return None
  low, high = max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines)
  if low > high:
    return None
  grid = np.linspace(low, high, points)
  return grid, np.stack([np.interp(grid, x, y) for x, y in lines])
