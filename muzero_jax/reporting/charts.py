"""What charts of runs show, before anything is drawn: lines, bands over seeds, evaluations.

`plots` draws a chart as an image, and the script in `report.js` as a part of a web page.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from muzero_jax.reporting import references
from muzero_jax.runs import history, jsonl
from muzero_jax.runs.history import Group, RunRecord

COLORS = [
  "#3b82c4",
  "#e07b1f",
  "#2f9e5b",
  "#c94f4f",
  "#8a63c7",
  "#8c6d5a",
  "#d069a8",
  "#7f8c1f",
  "#1fa3b0",
  "#777777",
]
GRAY = "#808080"  # readable on white and on black, because plots are transparent
PUBLISHED = ["#a98467", "#6b8fa3", "#9480ab"]  # paler than COLORS
# Units of time: the duration in seconds from which a unit is used, its length in seconds, its name.
_TIMES = [
  (2 * 3600, 3600, "hours"),
  (2 * 60, 60, "minutes"),
  (0, 1, "seconds"),
]


@dataclasses.dataclass(frozen=True)
class Line:
  """A curve; a faint one is a single seed of several, a dashed one is not of these runs."""

  label: str
  color: str
  x: list[float]
  y: list[float]
  faint: bool = False
  dashed: bool = False


@dataclasses.dataclass(frozen=True)
class Band:
  """A range: from the lowest to the highest seed, or an interval."""

  label: str
  color: str
  x: list[float]
  low: list[float]
  high: list[float]
  ends: tuple[str, str] = ("highest seed", "lowest seed")  # names of their values


@dataclasses.dataclass(frozen=True)
class Dots:
  """Evaluations; low and high bound their intervals, and are None where there is none."""

  label: str
  color: str
  x: list[float]
  y: list[float]
  low: list[float | None]
  high: list[float | None]


@dataclasses.dataclass(frozen=True)
class Chart:
  """Everything that one chart shows."""

  title: str
  x: str  # what the horizontal axis shows, with its unit
  y: str  # the same of the vertical axis; "" where the title says it
  lines: list[Line]
  bands: list[Band] = dataclasses.field(default_factory=list)
  dots: list[Dots] = dataclasses.field(default_factory=list)
  level: float | None = None  # the return of random play
  steps: bool = False  # lines are step functions, which are neither smoothed nor logarithmic

  def json(self) -> str:
    """The chart as JSON, with six digits; null where a number is not finite."""
    return json.dumps(_rounded(dataclasses.asdict(self)), separators=(",", ":"))


def returns(task: str, groups: Sequence[Group], x: str, points: int) -> Chart:
  """The learning curves of groups of runs of one game, and of presets with their settings.

  Args:
    task: the game's name.
    groups: each has a color. A group of several runs has a line for each, which is faint, and one
      for their mean.
    x: "env_steps" or "seconds", the horizontal axis.
    points: maximal number of points per line.
  """
  scale, unit = _unit(groups) if x == "seconds" else (1.0, "agent steps")
  lines, bands = _curves(groups, x, "episode/return", points, scale)
  random = [row["mean"] for group in groups for run in group.runs for row in run.scores("random")]
  dots = [_evaluations(run, x, scale, color(group)) for group in groups for run in group.runs]
  return Chart(
    title=f"{task}: return against {'wall-clock time' if x == 'seconds' else unit}",
    x=f"wall-clock time ({unit})" if x == "seconds" else unit,
    y="return (raw, full episodes)",
    lines=[*lines, *(_others(groups, points) if x == "env_steps" else [])],
    bands=bands,
    dots=[found for found in dots if found.x],
    level=float(np.mean(random)) if random else None,
  )


def metric(groups: Sequence[Group], name: str, points: int) -> Chart:
  """A metric of groups of runs against agent steps; `points` as in `returns`."""
  return Chart(name, "agent steps", "", *_curves(groups, "env_steps", name, points, 1.0))


def color(group: Group) -> str:
  """The color of a group, which is the same in all charts."""
  return COLORS[group.number % len(COLORS)]


def interval(row: dict, name: str) -> list[float] | None:
  """The confidence interval of a statistic in a row of evaluations.jsonl, or None."""
  bounds = (row.get("intervals") or {}).get(name)
  return bounds if isinstance(bounds, list) and len(bounds) == 2 else None


def _curves(
  groups: Sequence[Group], x: str, y: str, points: int, scale: float
) -> tuple[list[Line], list[Band]]:
  """A line for each run; for a group of several also their mean, and a band over them."""
  lines, bands = [], []
  for group in groups:
    shade = color(group)
    seeds = [
      history.thin((a / scale, b), points)
      for a, b in (run.curve(x, y) for run in group.runs)
      if len(a)
    ]
    several = len(seeds) > 1
    label = "a seed's training episodes" if several else "training episodes"
    lines += [Line(label, shade, a.tolist(), b.tolist(), faint=several) for a, b in seeds]
    shared = history.resampled(seeds, points) if several else None
    if shared:
      grid, ys = shared
      low, high = ys.min(0).tolist(), ys.max(0).tolist()
      bands.append(Band("lowest to highest", shade, grid.tolist(), low, high))
      lines.append(Line("mean of seeds", shade, grid.tolist(), ys.mean(0).tolist()))
  return lines, bands


def _expected(groups: Sequence[Group], points: int) -> list[Line]:
  """The curves that come with the presets whose settings the runs have, as far as these go."""
  found = {}
  for run in (run for group in groups for run in group.runs):
    reference = references.find(run.settings)
    if reference:
      until = max(run.settings["env_steps"], found.get(reference.preset, (0, None))[0])
      found[reference.preset] = until, reference
  lines = []
  for until, reference in found.values():
    mean = reference.mean(until, points)
    if mean:
      lines.append(Line(reference.name, GRAY, mean[0].tolist(), mean[1].tolist(), dashed=True))
  return lines


def _others(groups: Sequence[Group], points: int) -> list[Line]:
  """Dashed lines to compare with: of our own runs of the presets, and of published agents up to
  the step that the longest run has reached.
  """
  reached = [(run.last("env_steps") or 0.0, run) for group in groups for run in group.runs]
  until, longest = max(reached, key=lambda pair: pair[0])
  published = references.published(longest.settings, until)
  return _expected(groups, points) + [
    Line(name, shade, x.tolist(), y.tolist(), dashed=True)
    for (name, (x, y)), shade in zip(published, PUBLISHED, strict=False)
  ]


def _evaluations(run: RunRecord, x: str, scale: float, shade: str) -> Dots:
  rows = [row for row in run.scores("trained") if jsonl.is_number(row.get("env_steps"))]
  at = np.asarray([row["env_steps"] for row in rows], np.float64)
  if x == "seconds":
    line = run.line("env_steps", "seconds")
    at = np.interp(at, *line) / scale if len(line[0]) else at[:0]
  rows = rows[: len(at)]
  bounds = [interval(row, "mean") or [None, None] for row in rows]
  low, high = ([bound[end] for bound in bounds] for end in (0, 1))
  return Dots("evaluation", shade, at.tolist(), [row["mean"] for row in rows], low, high)


def _unit(groups: Sequence[Group]) -> tuple[float, str]:
  """The unit of time that suits the longest run: its length in seconds, and its name."""
  longest = max(run.last("seconds") or 0.0 for group in groups for run in group.runs)
  return next((size, name) for least, size, name in _TIMES if longest >= least)


def _rounded(value: Any) -> Any:
  """Rounds all numbers in lists and dictionaries to six digits; others become None."""
  if isinstance(value, dict):
    return {key: _rounded(item) for key, item in value.items()}
  if isinstance(value, list):
    return [_rounded(item) for item in value]
  if isinstance(value, float):
    return float(f"{value:.6g}") if math.isfinite(value) else None
  return value
