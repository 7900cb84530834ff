"""The sections of metrics: small plots by kind, and a table of all newest values."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np

from muzero_jax.reporting import charts
from muzero_jax.reporting.elements import chart, note, number, table, tag
from muzero_jax.runs import jsonl
from muzero_jax.runs.history import Group

# Kinds of metrics whose sections come first, in this order, and the headings of these sections.
_FIRST = {
  "throughput": "Throughput",
  "loss": "Losses",
  "replay": "Replay",
  "search": "Search",
  "learner": "Learner",
}
# Metrics that are not plotted here: the axes of plots, and the learning curve.
_ELSEWHERE = ("env_steps", "frames", "updates", "seconds", "episode/return")


def section(groups: Sequence[Group], points: int) -> list[Element]:
  """The plots of each kind of metric under a heading, then the table; `points` per line."""
  names = _names(groups)
  kinds = {_kind(name) for name in names}
  parts = []
  for kind in [*(kind for kind in _FIRST if kind in kinds), *sorted(kinds - {*_FIRST})]:
    plots = [chart(charts.metric(groups, name, points)) for name in names if _kind(name) == kind]
    heading = _FIRST.get(kind, kind.capitalize())
    parts += [tag("h2", heading), tag("div", *plots, class_="small")]
  return [*parts, *(_newest_values(groups, names) if names else [])]


def _names(groups: Sequence[Group]) -> list[str]:
  """The metrics that some run has a number of, in alphabetical order."""
  rows = [row for group in groups for run in group.runs for row in run.rows]
  found = {name for row in rows for name, value in row.items() if jsonl.is_number(value)}
  return sorted(found - {*_ELSEWHERE})


def _kind(name: str) -> str:
  """The kind of a metric: the part of its name before the first slash, except for rates."""
  if name.endswith("_per_second"):
    return "throughput"
  return name.partition("/")[0] if "/" in name else "other"


def _newest_values(groups: Sequence[Group], names: Sequence[str]) -> list[Element]:
  rows = [[name, *(_newest(group, name) for group in groups)] for name in names]
  return [
    tag("h2", "Newest values"),
    table(["metric", *(group.name for group in groups)], rows),
    note("The last value of every metric that is plotted above, averaged over the seeds."),
  ]


def _newest(group: Group, name: str) -> str:
  values = [value for run in group.runs if (value := run.last(name)) is not None]
  return number(float(np.mean(values))) if values else ""
