"""The section of evaluations: a table of all, and the last ones beside published scores."""

from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from muzero_jax.evaluation import intervals
from muzero_jax.evaluation.scores import references, remade
from muzero_jax.reporting import charts
from muzero_jax.reporting.elements import note, number, table, tag
from muzero_jax.runs import history, jsonl
from muzero_jax.runs.history import Group, RunRecord

# Fields of evaluations.jsonl, and the column heads of the table of evaluations.
_COLUMNS = {
  "task": "game",
  "agent": "agent",
  "env_steps": "agent steps",
  "protocol": "protocol",
  "episodes": "episodes",
}
_SCORES = {"mean": "mean", "median": "median", "iqm": "IQM", "hns": "human-normalized"}
# Fields that have no columns of their own names; all others get one.
_KNOWN = {*_COLUMNS, *_SCORES, "returns", "lengths", "intervals", "level", "seeds"}


def section(runs: Sequence[RunRecord], groups: Sequence[Group]) -> list[Element]:
  """All evaluations of the runs, and those of games with published scores beside them."""
  names = history.names(runs)
  rows = [(name, row) for name, run in zip(names, runs, strict=True) for row in run.evaluations]
  if not rows:
    return [tag("h2", "Evaluations"), tag("p", "No evaluation yet.")]
  return [tag("h2", "Evaluations"), *_all(rows), *_published(groups)]


def _all(rows: Sequence[tuple[str, dict[str, Any]]]) -> list[Element]:
  """A table of rows of evaluations.jsonl, given with the names of their runs."""
  others = dict.fromkeys(
    key
    for _, row in rows
    for key, value in row.items()
    if key not in _KNOWN and not isinstance(value, list | dict)
  )
  header = ["run", *_COLUMNS.values(), *_SCORES.values(), *others]
  cells = [
    [
      name,
      *(number(row.get(key)) for key in _COLUMNS),
      *(_score(row, key) for key in _SCORES),
      *(number(row.get(key)) for key in others),
    ]
    for name, row in rows
  ]
  levels = {row["level"] for _, row in rows if jsonl.is_number(row.get("level"))}
  text = ", ".join(sorted({f"{level:.0%}" for level in levels}))
  remark = note(f"In brackets: {text} bootstrap intervals over episodes.")
  return [table(header, cells), *([remark] if levels else [])]


def _score(row: dict[str, Any], key: str) -> str:
  if not jsonl.is_number(row.get(key)):
    return ""
  return intervals.in_words(row[key], charts.interval(row, key))


def _published(groups: Sequence[Group]) -> list[Element]:
  """A table of last evaluations and published scores, for the games that have the latter."""
  known = references()
  if not any(group.task in known for group in groups):
    kinds = sorted({str(run.settings.get("env.kind")) for group in groups for run in group.runs})
    remarks = filter(None, map(remade, kinds))
    return [note(" ".join(["There are no published scores to compare with.", *remarks]))]
  shown = [
    group
    for group in groups
    if group.task in known and any(run.scores("trained") for run in group.runs)
  ]
  if not shown:
    return []
  agents = list(dict.fromkeys(name for group in shown for name in known[group.task]))
  header = ["game", "settings", "seeds", "agent steps", "ours, mean", *agents]
  rows = [
    [group.task, group.name if len(groups) > 1 else "", *_beside(group, known[group.task], agents)]
    for group in shown
  ]
  about = note(
    "In parentheses: human-normalized scores (0 is random play, 1 is a human). Published scores "
    "are with no-op starts and no sticky actions; those of agents are after 100,000 steps."
  )
  return [tag("h3", "Last evaluations beside published scores"), table(header, rows), about]


def _beside(group: Group, published: dict[str, float], agents: Sequence[str]) -> list[str]:
  """A group's number of seeds, agent steps and mean score, and the published scores of agents."""
  last = [run.scores("trained")[-1] for run in group.runs if run.scores("trained")]
  ours = float(np.mean([row["mean"] for row in last]))
  steps = ", ".join(dict.fromkeys(number(row.get("env_steps")) for row in last))
  scores = [ours, *(published.get(name) for name in agents)]
  return [str(len(last)), steps, *(_normalized(score, published) for score in scores)]


def _normalized(score: float | None, published: dict[str, float]) -> str:
  """A score, and in parentheses the human-normalized one; "" for None."""
  if score is None:
    return ""
  share = intervals.normalized(score, published["random"], published["human"])
  return f"{number(score)} ({share:.2f})"
