"""Plots learning curves, curves of other metrics, and benchmark results, with matplotlib."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from muzero_jax.runs import history, metrics
from muzero_jax.runs.history import Group, Run

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
_PLAIN: Any = {"svg.fonttype": "none", "svg.hashsalt": "muzero_jax", "text.parse_math": False}
# Units of time: the duration in seconds from which a unit is used, its length in seconds, its name.
_TIMES = [
  (2 * 3600, 3600, "hours"),
  (2 * 60, 60, "minutes"),
  (0, 1, "seconds"),
]


def draw_curve(workdir: Path, title: str) -> Path:
  """Plots the mean returns of training and of evaluations against agent steps.

  Args:
    workdir: the run's folder.
    title: the plot's title.

  Returns:
    The path of the image, `workdir/curve.png`.
  """
  with plt.rc_context(_PLAIN):
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    _returns(axes, history.grouped([history.read(workdir)]), "env_steps", 500)
    axes.set_title(title)
    path = workdir / "curve.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
  return path


def returns(groups: Sequence[Group], x: str, points: int) -> str:
  """Plots the learning curves of the groups of runs of one game.

  Args:
    groups: each has a color. In a group of several runs, their lines are faint, and the mean is
      plotted too.
    x: "env_steps" or "seconds", the horizontal axis.
    points: maximal number of points per line.

  Returns:
    A `data:` URL of an SVG image.
  """
  with plt.rc_context(_PLAIN):
    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    _returns(axes, groups, x, points)
    return _address(figure)


def metric(groups: Sequence[Group], name: str, points: int) -> str:
  """Plots a metric against agent steps; arguments and result are as in `returns`."""
  with plt.rc_context(_PLAIN):
    figure, axes = plt.subplots(figsize=(4, 2.2), layout="constrained")
    for group in groups:
      _lines(axes, group, "env_steps", name, points, 1.0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    _dress(axes)
    return _address(figure)


def draw_growth(path: Path, found: dict[str, dict[str, dict[str, float]]]) -> None:
  """Plots the cost of an agent step against sizes, in one panel for each kind of size.

  Args:
    path: the SVG file to write.
    found: kind of size -> size -> "median", "least" and "most" seconds per agent step, as
      `benchmark.sweep.growth` returns them.
  """
  with plt.rc_context(_PLAIN):
    figure, panels = plt.subplots(
      1, len(found), figsize=(3 * len(found), 2.6), layout="constrained", sharey=True, squeeze=False
    )
    for axes, (name, row) in zip(panels[0], found.items(), strict=True):
      sizes = [int(size) for size in row]
      median, least, most = (
        np.array([1e6 * seconds[key] for seconds in row.values()])
        for key in ("median", "least", "most")
      )
      axes.errorbar(
        sizes,
        median,
        [median - least, most - median],
        marker="o",
        markersize=4,
        capsize=2,
        color=COLORS[0],
      )
      axes.set_xscale("symlog" if 0 in sizes else "log", base=2 if max(sizes) < 1000 else 10)
      axes.xaxis.set_major_formatter(EngFormatter(sep=""))
      axes.set(xlabel=name, ylim=(0, None))
      _dress(axes)
    panels[0][0].set_ylabel("µs per agent step", color=GRAY)
    figure.savefig(path, transparent=True, metadata={"Date": None})
    plt.close(figure)


def draw_comparison(path: Path, runs: dict[str, list[Path]], points: int = 200) -> None:
  """Plots the learning curves of several agents, each trained with several seeds.

  A line is the mean over an agent's seeds of the returns of training games, the band around it
  reaches from the lowest to the highest seed. Only the range that all seeds of an agent cover is
  drawn.

  Args:
    path: the image to write; its suffix is the format.
    runs: the agent's name -> the folders of its runs, one for each seed.
    points: of each line.
  """
  with plt.rc_context(_PLAIN):
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for number, (name, folders) in enumerate(runs.items()):
      lines = [history.read(folder).line("env_steps", "episode/return") for folder in folders]
      shared = history.spread([history.thin(line, points) for line in lines], points)
      if not shared:
        continue
      grid, ys = shared
      # More agents than colors: the second round of colors is dashed.
      look: dict[str, Any] = {"color": COLORS[number % len(COLORS)]}
      style = "--" if number >= len(COLORS) else "-"
      axes.fill_between(grid, ys.min(0), ys.max(0), alpha=0.12, linewidth=0, **look)
      axes.plot(grid, ys.mean(0), style, linewidth=1.8, label=name, **look)
    axes.set(xlabel="agent steps", ylabel="return of training games")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    _dress(axes)
    if axes.get_legend_handles_labels()[0]:
      figure.legend(loc="outside right upper", framealpha=0, labelcolor=GRAY, fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def color(group: Group) -> str:
  """The color of a group, which is the same in all plots."""
  return COLORS[group.number % len(COLORS)]


def _returns(axes: Axes, groups: Sequence[Group], x: str, points: int) -> None:
  scale, unit = _unit(groups) if x == "seconds" else (1, "agent steps")
  for group in groups:
    _lines(axes, group, x, "episode/return", points, scale)
    for run in group.runs:
      _evaluations(axes, run, x, scale, color(group))
  chance = [row["mean"] for group in groups for run in group.runs for row in run.scores("random")]
  if chance:
    axes.axhline(float(np.mean(chance)), linestyle=":", color=GRAY, label="random play")
  axes.set(
    xlabel=f"wall-clock time ({unit})" if x == "seconds" else unit,
    ylabel="return (raw, full games)",
  )
  if x == "env_steps":
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
  _dress(axes)
  # A dictionary, so that a label that several groups have gets one entry in the legend.
  labelled = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
  if labelled:
    axes.legend(labelled.values(), labelled.keys(), framealpha=0, labelcolor=GRAY, fontsize="small")


def _lines(axes: Axes, group: Group, x: str, y: str, points: int, scale: float) -> None:
  """Plots a line per run; for several runs also their mean, and a band from lowest to highest."""
  lines = [
    history.thin((a / scale, b), points)
    for a, b in (run.line(x, y) for run in group.runs)
    if len(a)
  ]
  look: dict[str, Any] = {"color": color(group)}
  one = len(lines) == 1
  for line in lines:
    dot = "." if len(line[0]) == 1 else None
    label = "training games" if one else "a seed's training games"
    axes.plot(
      *line, alpha=1 if one else 0.3, linewidth=1.5 if one else 0.8, marker=dot, label=label, **look
    )
  shared = None if one else history.spread(lines, points)
  if shared:
    grid, ys = shared
    axes.fill_between(
      grid, ys.min(0), ys.max(0), alpha=0.15, linewidth=0, label="lowest to highest", **look
    )
    axes.plot(grid, ys.mean(0), linewidth=1.8, label="mean of seeds", **look)


def _evaluations(axes: Axes, run: Run, x: str, scale: float, look: str) -> None:
  """Plots the evaluations as dots, with confidence intervals where the rows have them."""
  rows = [row for row in run.scores("trained") if metrics.is_number(row.get("env_steps"))]
  at = np.asarray([row["env_steps"] for row in rows], np.float64)
  if x == "seconds":
    line = run.line("env_steps", "seconds")
    at = np.interp(at, *line) / scale if len(line[0]) else at[:0]
  for place, row in zip(at, rows, strict=False):
    bounds = interval(row, "mean")
    if bounds:
      axes.vlines(place, bounds[0], bounds[1], color=look, alpha=0.6)
    axes.plot(place, row["mean"], "o", color=look, markersize=5, label="evaluation")


def interval(row: dict, name: str) -> list[float] | None:
  """The confidence interval of a statistic in a row of evaluations.jsonl, or None."""
  bounds = (row.get("intervals") or {}).get(name)
  return bounds if isinstance(bounds, list) and len(bounds) == 2 else None


def _unit(groups: Sequence[Group]) -> tuple[float, str]:
  """The unit of time that suits the longest run: its length in seconds, and its name."""
  longest = max(run.newest("seconds") or 0.0 for group in groups for run in group.runs)
  return next((size, name) for least, size, name in _TIMES if longest >= least)


def _dress(axes: Axes) -> None:
  axes.grid(alpha=0.25)
  axes.tick_params(color=GRAY, labelcolor=GRAY)
  axes.xaxis.label.set_color(GRAY)
  axes.yaxis.label.set_color(GRAY)
  axes.spines[:].set_color(GRAY)
  axes.spines[["top", "right"]].set_visible(False)


def _address(figure: Figure) -> str:
  picture = io.BytesIO()
  figure.savefig(picture, format="svg", transparent=True, metadata={"Date": None})
  plt.close(figure)
  return "data:image/svg+xml;base64," + base64.b64encode(picture.getvalue()).decode()
