"""Combines the evaluations of several runs into scores of each game over seeds, and over all games.

Scores over games are human-normalized.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError
from muzero_jax.evaluation import intervals, protocols
from muzero_jax.evaluation.scores import references
from muzero_jax.runs import jsonl, workdir

# Settings that are expected to differ between runs; `differing` does not report them.
_EXPECTED = (*configs.FREE, "seed", "env.task", "env.backend", "cpu_devices")

# Fields of an evaluation that are combined; rows without them are left out.
_NEEDED = {"task", "protocol", "env_steps", "episodes", *intervals.SUMMARIES}


@dataclasses.dataclass(frozen=True)
class Evaluated:
  """A run together with one of its evaluations."""

  folder: str  # as the user wrote it
  config: Config
  row: dict[str, Any]  # of evaluations.jsonl


def newest_evaluation(folder: str, agent: str, protocol: str, acting: str = "auto") -> Evaluated:
  """Reads a run and its newest evaluation.

  Args:
    folder: the run's folder.
    agent: "trained" or "random": whose evaluation is wanted.
    protocol: the evaluation's protocol; "auto" accepts any.
    acting: "greedy" or "sampled", as --evaluation.acting; "auto" accepts either with the protocol
      "auto", and otherwise takes the run's own.

  Raises:
    ConfigError: the folder has no run or no such evaluation, or the run cannot be scored under
      the protocol.
  """
  path, config = workdir.find(folder)
  asked, config = protocol, protocols.acting_as(config, acting)
  if protocol != "auto":
    protocol, _ = protocols.for_protocol(config, protocol)
  rows = complete(jsonl.read(path / "evaluations.jsonl"), agent)
  rows = [row for row in rows if protocol in ("auto", row["protocol"])]
  if acting != "auto":
    rows = [row for row in rows if protocols.is_sampled(row["protocol"]) == (acting == "sampled")]
  if not rows:
    words = "" if asked == "auto" or protocol.startswith("own") else f" --protocol={asked}"
    words += "" if acting == "auto" else f" --acting={acting}"
    words += " --random" if agent == "random" else ""
    raise ConfigError(
      f"--workdir={folder}: no {'' if acting == 'auto' else f'{acting} '}evaluation of the {agent} "
      f"player{'' if protocol == 'auto' else f' under protocol {protocol}'} in it; "
      f"make one with python -m launch.evaluate --workdir={folder}{words}."
    )
  return Evaluated(folder, config, rows[-1])


def complete(rows: Sequence[dict[str, Any]], agent: str) -> list[dict[str, Any]]:
  """Those rows of evaluations.jsonl that are of "trained" or "random", and lack nothing."""
  return [row for row in rows if row.get("agent") == agent and row.keys() >= _NEEDED]


def check(runs: Sequence[Evaluated]) -> None:
  """Checks that the runs can be combined into one result.

  Raises:
    ConfigError: protocols differ, or two runs have the same game and seed.
  """
  for a, b in itertools.combinations(runs, 2):
    if a.row["protocol"] != b.row["protocol"]:
      raise ConfigError(
        f"--workdir: {a.folder} is scored under protocol {a.row['protocol']} and {b.folder} under "
        f"{b.row['protocol']}, "
        "which cannot be compared: leave one out, or name a protocol that all were trained for "
        "with --protocol."
      )
    if (a.row["task"], a.config.seed) == (b.row["task"], b.config.seed):
      raise ConfigError(
        f"--workdir: {a.folder} and {b.folder} are both {a.row['task']} with seed {a.config.seed}, "
        "which would count twice: "
        "leave one out, or train with another --seed."
      )


def aggregate(runs: Sequence[Evaluated]) -> dict[str, Any]:
  """Combines runs into one result that can be written as JSON.

  Args:
    runs: at least one; the evaluations are all of trained agents, or all of the random player.

  Returns:
    A dictionary: "protocol"; "agent"; "tasks", a dictionary for each game; "over_tasks", statistics
    of human-normalized scores over games, or None when no game has published references;
    "left_out", the games without references; "differing", the settings that are not equal in all
    runs.

  Raises:
    ConfigError: the runs cannot be combined (`check`).
  """
  check(runs)
  protocol = runs[0].row["protocol"]
  by_task = {
    task: [run for run in runs if run.row["task"] == task]
    for task in sorted({run.row["task"] for run in runs})
  }
  tasks = [_task(task, members, protocol) for task, members in by_task.items()]
  scored = [task for task in tasks if "hns" in task]
  return {
    "protocol": protocol,
    "agent": runs[0].row["agent"],
    "tasks": tasks,
    "over_tasks": _over_tasks(scored, protocol) if scored else None,
    "left_out": [task["task"] for task in tasks if "hns" not in task],
    "differing": differing([run.config for run in runs]),
  }


def _task(task: str, runs: Sequence[Evaluated], protocol: str) -> dict[str, Any]:
  """The entry of one game: the scores of its seeds, and published scores."""
  reference = references().get(task)
  rows = []
  for run in sorted(runs, key=lambda run: run.config.seed):
    row = {"workdir": run.folder, "seed": run.config.seed, "seeds": 1, "protocol": protocol}
    row |= {name: run.row[name] for name in ("env_steps", "episodes", *intervals.SUMMARIES)}
    if reference:
      row["hns"] = intervals.normalized(row["mean"], reference["random"], reference["human"])
    rows.append(row)
  found: dict[str, Any] = {
    "task": task,
    "protocol": protocol,
    "seeds": len(rows),
    "episodes": _episodes(rows),
  }
  found |= _mean_and_sd("mean", rows) | (_mean_and_sd("hns", rows) if reference else {})
  return found | {"published": reference, "runs": rows}


def _episodes(rows: Sequence[dict[str, Any]]) -> int:
  return sum(row["episodes"] for row in rows)


def _mean_and_sd(name: str, rows: Sequence[dict[str, Any]]) -> dict[str, float | None]:
  """Mean and sample standard deviation over seeds; the latter is None for a single seed."""
  values = np.array([row[name] for row in rows], np.float64)
  return {
    name: float(values.mean()),
    f"{name}_sd": float(values.std(ddof=1)) if len(values) > 1 else None,
  }


def _over_tasks(tasks: Sequence[dict[str, Any]], protocol: str) -> dict[str, Any]:
  """Statistics over games and seeds; "seeds" lists the number of seeds of each game."""
  scores = [[run["hns"] for run in task["runs"]] for task in tasks]
  size = {
    "tasks": len(tasks),
    "seeds": [task["seeds"] for task in tasks],
    "episodes": _episodes(tasks),
  }
  return {"protocol": protocol, **size, "level": intervals.LEVEL, **intervals.over_games(scores)}


def differing(runs: Sequence[Config]) -> list[str]:
  """Names of the settings that are not equal in all runs, except those that are expected to differ
  between seeds, games and machines (`_EXPECTED`).
  """
  first, *rest = [configs.values(config) for config in runs]
  names = [name for name in first if not name.startswith(_EXPECTED)]
  return [name for name in names if any(other[name] != first[name] for other in rest)]


def table(result: dict[str, Any]) -> str:
  """Formats the result of `aggregate` as plain text."""
  width = max(len(task["task"]) for task in result["tasks"])
  protocol = max(8, len(result["protocol"]))
  columns = f"{'seeds':>5} {'episodes':>8} {'steps':>23} {'mean':>10} {'sd':>9} {'hns':>7}"
  lines = [
    f"{result['agent']} player, means of each seed and over seeds:",
    f"{'':{width}} {'protocol':{protocol}} {columns}  each seed",
  ]
  for task in result["tasks"]:
    lines += _lines(task, width)
  over = result["over_tasks"]
  if over:
    seeds, episodes = _range(over["seeds"]), over["episodes"]
    size = (
      f"tasks: {over['tasks']}, seeds of each: {seeds}, episodes: {episodes}, "
      f"protocol {over['protocol']}"
    )
    labels = {"mean": "mean", "median": "median", "iqm": "IQM", "optimality_gap": "optimality gap"}
    facts = [
      f"{label} {intervals.in_words(over[name]['value'], over[name]['interval'])}"
      for name, label in labels.items()
    ]
    lines += [f"human-normalized ({size}):", f"  {', '.join(facts)}"]
    known = over["mean"]["interval"] is not None
    lines += [
      f"  [{over['level']:.0%} stratified bootstrap]"
      if known
      else "  (an interval needs two seeds of every game)"
    ]
  if result["left_out"]:
    lines += [
      f"without a human-normalized score (no published references): {', '.join(result['left_out'])}"
    ]
  if result["differing"]:
    lines += [f"note: the runs differ in {', '.join(f'--{name}' for name in result['differing'])}"]
  return "\n".join(lines)


def _range(numbers: Sequence[int]) -> str:
  low, high = min(numbers), max(numbers)
  return f"{low:,}" if low == high else f"{low:,}..{high:,}"


def _lines(task: dict[str, Any], width: int) -> list[str]:
  """The lines of one game: its scores, and published scores where there are any."""
  steps = _range([run["env_steps"] for run in task["runs"]])
  sd = "-" if task["mean_sd"] is None else f"{task['mean_sd']:.2f}"
  hns = f"{task['hns']:.3f}" if "hns" in task else "-"
  size = f"{task['protocol']:8} {task['seeds']:5} {task['episodes']:8} {steps:>23}"
  each = " ".join(f"{run['mean']:.2f}" for run in task["runs"])
  lines = [f"{task['task']:{width}} {size} {task['mean']:10.2f} {sd:>9} {hns:>7}  {each}"]
  if task["published"]:
    facts = ", ".join(f"{name} {score:g}" for name, score in task["published"].items())
    lines += [f"{'':{width}} published (no-op starts, not sticky): {facts}"]
  return lines
