"""What runs left behind, read back: also of runs that are going on, were killed, or were made by
another version.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from muzero_jax import config as configs
from muzero_jax.config import Config
from muzero_jax.runs import metrics, workdir

Line = tuple[np.ndarray, np.ndarray]  # x f64[n], y f64[n]


@dataclasses.dataclass(frozen=True)
class Run:
  """One run's files."""

  folder: Path
  facts: dict[str, Any]  # config.json
  settings: dict[
    str, Any
  ]  # dotted name -> value; today's defaults for those that the run's version did not have
  rows: list[dict[str, Any]]  # metrics.jsonl
  evaluations: list[dict[str, Any]]  # evaluations.jsonl, as far as there is a score in them

  @property
  def task(self) -> str:
    """The game."""
    return "catch" if self.settings["env.kind"] == "catch" else str(self.settings["env.task"])

  def newest(self, name: str) -> Any:
    """A metric's newest value; None when there is none."""
    return next((row[name] for row in reversed(self.rows) if is_number(row.get(name))), None)

  def line(self, x: str, y: str) -> Line:
    """One metric against another, as far as both were written."""
    pairs = [
      (row[x], row[y]) for row in self.rows if is_number(row.get(x)) and is_number(row.get(y))
    ]
    columns = np.asarray(pairs, np.float64).reshape(-1, 2)
    return columns[:, 0], columns[:, 1]

  def scores(self, agent: str) -> list[dict[str, Any]]:
    """The evaluations of the "trained" agent or of a "random" player."""
    return [
      row for row in self.evaluations if (row.get("agent") == "random") == (agent == "random")
    ]


@dataclasses.dataclass(frozen=True)
class Group:
  """Runs that differ in nothing but the seed and what may differ when a run goes on
  (`config.FREE`).
  """

  number: int  # 0 for the first; its color
  label: str  # what sets it apart from the other groups
  runs: list[Run]

  @property
  def task(self) -> str:
    """The game."""
    return self.runs[0].task

  @property
  def name(self) -> str:
    """The label where it is short enough for the head of a column."""
    return self.label if len(self.label) <= 40 else f"settings {self.number + 1}"

  @property
  def seeds(self) -> str:
    """For example: seed 3; seeds 0, 1."""
    seeds = [str(run.settings["seed"]) for run in self.runs]
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}"


def read(name: str | Path) -> Run:
  """Reads a run's folder.

  Raises:
    ConfigError: there is no run in it.
  """
  folder = workdir.place(name)
  facts = workdir.facts(folder)
  settings = configs.values(Config()) | configs.upgraded(facts["config"])
  scored = [row for row in metrics.read(folder / "evaluations.jsonl") if is_number(row.get("mean"))]
  return Run(folder, facts, settings, metrics.read(folder / "metrics.jsonl"), scored)


def grouped(runs: Sequence[Run]) -> list[Group]:
  """Runs by their settings, in the order given."""
  names = [name for name in differing(runs) if name != "seed" and not name.startswith(configs.FREE)]
  groups: dict[tuple, list[Run]] = {}
  for run in runs:
    groups.setdefault(tuple(str(run.settings.get(name)) for name in names), []).append(run)
  labels = [
    ", ".join(f"{name}={value}" for name, value in zip(names, key, strict=True)) for key in groups
  ]
  members = list(groups.values())
  return [Group(i, label or members[i][0].task, members[i]) for i, label in enumerate(labels)]


def differing(runs: Sequence[Run]) -> list[str]:
  """Names of the settings that are not the same in all runs."""
  names = dict.fromkeys(name for run in runs for name in run.settings)
  return [name for name in names if len({str(run.settings.get(name)) for run in runs}) > 1]


def is_number(value: Any) -> bool:
  """Of what JSON has; a switch is none."""
  return isinstance(value, int | float) and not isinstance(value, bool)


def thin(line: Line, points: int) -> Line:
  """At most that many points, each the mean of equally many neighbors (the last of fewer), at the x
  where these end.
  """
  size = -(-len(line[0]) // points)
  if size <= 1:
    return line
  starts = np.arange(0, len(line[0]), size)
  counts = np.diff(np.append(starts, len(line[0])))
  return line[0][starts + counts - 1], np.add.reduceat(line[1], starts) / counts


def spread(lines: Sequence[Line], points: int) -> tuple[np.ndarray, np.ndarray] | None:
  """Lines side by side, over the x that all of them have reached.

  Returns:
    x f64[points] and each line's y there, f64[lines, points], linear between its points; None where
    they share no x.
  """
  if not lines or not all(len(x) for x, _ in lines):
    return None
  low, high = max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines)
  if low > high:
    return None
  grid = np.linspace(low, high, points)
  return grid, np.stack([np.interp(grid, x, y) for x, y in lines])
