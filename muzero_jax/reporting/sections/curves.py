"""The section at the top of the report: the learning curve of each game."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from muzero_jax.reporting import charts
from muzero_jax.reporting.elements import chart, note, tag
from muzero_jax.runs.history import Group


def section(groups: Sequence[Group], points: int, beside: Sequence[Element] = ()) -> list[Element]:
  """Returns against agent steps and against wall-clock time, for each game with an ended episode.

  Args:
    groups: the runs.
    points: maximal number of points per line.
    beside: what stands beside the first curve.
  """
  drawn, missing = [], []
  for task in dict.fromkeys(group.task for group in groups):
    same = [group for group in groups if group.task == task]
    if _has_returns(same):
      drawn += [
        chart(charts.returns(task, same, x, points), large=True) for x in ("env_steps", "seconds")
      ]
    else:
      missing.append(tag("p", f"{task}: no episode has ended yet."))
  controls = [_controls()] if any(run.rows for group in groups for run in group.runs) else []
  first = tag("div", *drawn[:1], *beside, *drawn[1:], class_="first")
  return [*missing, *controls, first, *([_about(points)] if drawn else [])]


def _has_returns(groups: Sequence[Group]) -> bool:
  return any(
    run.scores("trained") or run.last("episode/return") is not None
    for group in groups
    for run in group.runs
  )


def _controls() -> Element:
  """Choices of how all charts are drawn; the script reads them."""
  smoothing = {"id": "smoothing", "type": "range", "min": "0", "max": "0.98", "step": "0.02"}
  return tag(
    "p",
    tag("label", "Smoothing ", tag("input", value="0", **smoothing)),
    tag("label", tag("input", id="logarithmic", type="checkbox"), " Logarithmic"),
    tag("noscript", "The charts need JavaScript; the file loads nothing from the network."),
    class_="controls",
  )


def _about(points: int) -> Element:
  return note(
    "Drag over a chart to zoom in, double-click to zoom out. Bands extend from the lowest to the "
    f"highest seed, as far as all seeds of a group have come. A line has at most {points} points "
    "(below, half of that), each the mean of its neighbors."
  )
