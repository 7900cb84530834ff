"""The summary of the report: for each run its game, seed, progress and scores."""

import datetime
from collections.abc import Sequence
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from muzero_jax.evaluation import intervals
from muzero_jax.reporting import charts
from muzero_jax.reporting.elements import note, number, table, tag
from muzero_jax.runs import history
from muzero_jax.runs.history import Group, RunRecord


def section(runs: Sequence[RunRecord], groups: Sequence[Group]) -> list[Element]:
  """A table of facts about the runs, remarks, and the groups with their colors."""
  names = history.names(runs)
  header = ["run", *_facts(runs[0])]
  rows = [[name, *_facts(run).values()] for name, run in zip(names, runs, strict=True)]
  several = table(header, rows)
  one = table(["", ""], zip(header, rows[0], strict=True))  # a line for each fact
  return [
    several if len(runs) > 1 else one,
    *(_no_metrics(name, run) for name, run in zip(names, runs, strict=True) if not run.rows),
    *(_legend(groups) if len(groups) > 1 else []),
  ]


def _facts(run: RunRecord) -> dict[str, str]:
  scores, random = run.scores("trained"), run.scores("random")
  done, asked = run.last("env_steps") or 0, run.settings["env_steps"]
  rates = [rate for rate in run.line("env_steps", "env_steps_per_second")[1] if np.isfinite(rate)]
  best = max(scores, key=lambda row: row["mean"], default=None)
  protocol = scores[-1].get("protocol", "") if scores else run.settings["evaluation.protocol"]
  return {
    "game": run.task,
    "seed": str(run.settings["seed"]),
    "agent steps": number(done) + (f" of {number(asked)}" if done < asked else ""),
    "wall-clock time": str(datetime.timedelta(seconds=round(run.last("seconds") or 0))),
    "agent steps/s (median)": number(float(np.median(rates))) if rates else "",
    "newest training return": number(run.last("episode/return")),
    "last evaluation": _score(scores[-1]) if scores else "none yet",
    "best evaluation": f"{_score(best)} (of {len(scores)})" if best else "",
    "random play": _score(random[-1]) if random else "",
    "protocol": str(protocol),
    "code": str(run.facts.get("revision") or "unknown revision"),
    "devices": ", ".join(map(str, run.facts.get("devices") or [])),
  }


def _score(row: dict[str, Any]) -> str:
  score = intervals.in_words(row["mean"], charts.interval(row, "mean"))
  episodes, steps = number(row.get("episodes")), number(row.get("env_steps"))
  return f"{score}, {episodes} episodes after {steps} steps"


def _no_metrics(name: str, run: RunRecord) -> Element:
  first = number(run.settings["log_every"])
  return note(f"{name} has no metrics yet: the first line comes after {first} agent steps.")


def _legend(groups: Sequence[Group]) -> list[Element]:
  return [
    tag("p", "Runs that differ in more than the seed, and their colors in all plots:"),
    tag("ul", *map(_entry, groups)),
  ]


def _entry(group: Group) -> Element:
  name = f"{group.name}: " if group.name != group.label else ""
  square = tag("span", "■ ", style=f"color: {charts.color(group)}")
  return tag("li", square, f"{name}{group.label} ({group.task}, {group.seeds})")
