"""Draws images of learning curves and benchmark results, with matplotlib."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from muzero_jax.reporting import charts
from muzero_jax.reporting.charts import GRAY, Chart
from muzero_jax.runs import history

_PLAIN: Any = {"svg.fonttype": "none", "svg.hashsalt": "muzero_jax", "text.parse_math": False}


def draw_curve(workdir: Path, title: str) -> Path:
  """Plots the mean returns of training and of evaluations against agent steps.

  Args:
    workdir: the run's folder.
    title: the plot's title.

  Returns:
    The path of the image, `workdir/curve.png`.
  """
  groups = history.grouped([history.read(workdir)])
  with plt.rc_context(_PLAIN):
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    draw(axes, charts.returns("", groups, "env_steps", 500))
    axes.set_title(title)
    path = workdir / "curve.png"
    figure.savefig(path, dpi=120)
    plt.close(figure)
  return path


def draw(axes: Axes, chart: Chart) -> None:
  """Draws a chart, without its title."""
  for band in chart.bands:
    axes.fill_between(
      band.x, band.low, band.high, alpha=0.15, linewidth=0, color=band.color, label=band.label
    )
  for line in chart.lines:
    axes.plot(
      line.x,
      line.y,
      "--" if line.dashed else "-",
      color=line.color,
      label=line.label,
      alpha=0.3 if line.faint else 1,
      linewidth=0.8 if line.faint else 1.5,
      marker="." if len(line.x) == 1 else None,
    )
  for dots in chart.dots:
    for x, low, high in zip(dots.x, dots.low, dots.high, strict=True):
      if low is not None and high is not None:
        axes.vlines(x, low, high, color=dots.color, alpha=0.6)
    axes.plot(dots.x, dots.y, "o", color=dots.color, markersize=5, label=dots.label)
  if chart.level is not None:
    axes.axhline(chart.level, linestyle=":", color=GRAY, label="random play")
  axes.set(xlabel=chart.x, ylabel=chart.y)
  if chart.x == "agent steps":
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
  _dress(axes)
  # A dictionary, so that a label that several groups have gets one entry in the legend.
  labeled = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
  if labeled:
    axes.legend(labeled.values(), labeled.keys(), framealpha=0, labelcolor=GRAY, fontsize="small")


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
        color=charts.COLORS[0],
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

  A line is the mean over an agent's seeds of the returns of training episodes, the band around it
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
      shared = history.resampled([history.thin(line, points) for line in lines], points)
      if not shared:
        continue
      grid, ys = shared
      # More agents than colors: the second round of colors is dashed.
      look: dict[str, Any] = {"color": charts.COLORS[number % len(charts.COLORS)]}
      style = "--" if number >= len(charts.COLORS) else "-"
      axes.fill_between(grid, ys.min(0), ys.max(0), alpha=0.12, linewidth=0, **look)
      axes.plot(grid, ys.mean(0), style, linewidth=1.8, label=name, **look)
    axes.set(xlabel="agent steps", ylabel="return of training episodes")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    _dress(axes)
    if axes.get_legend_handles_labels()[0]:
      figure.legend(loc="outside right upper", framealpha=0, labelcolor=GRAY, fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _dress(axes: Axes) -> None:
  axes.grid(alpha=0.25)
  axes.tick_params(color=GRAY, labelcolor=GRAY)
  axes.xaxis.label.set_color(GRAY)
  axes.yaxis.label.set_color(GRAY)
  axes.spines[:].set_color(GRAY)
  axes.spines[["top", "right"]].set_visible(False)
