"""The scores of one evaluation: statistics of returns, published references, and both in words."""

import csv
import functools
from importlib import resources
from typing import Any

import numpy as np

from muzero_jax.config import Env
from muzero_jax.evaluation import intervals as statistics
from muzero_jax.evaluation.evaluator import STUCK


def summary(returns: list[float], task: str) -> dict[str, Any]:
  """Statistics of the returns of one run's evaluation.

  Args:
    returns: raw returns of full episodes, at least one.
    task: the game.

  Returns:
    A dictionary: "episodes", their number; "seeds", 1 because it is one run; "mean", "median" and
    "iqm"; "returns"; "hns", the human-normalized score, where the game has published references.
    For two episodes or more, also "intervals", a bootstrap interval over episodes [low, high] for
    each statistic, and "level", their confidence level.
  """
  row: dict[str, Any] = {"episodes": len(returns), "seeds": 1, "returns": list(returns)}
  row |= {
    name: float(of(np.asarray(returns, np.float64))) for name, of in statistics.SUMMARIES.items()
  }
  intervals = {name: statistics.interval(of, returns) for name, of in statistics.SUMMARIES.items()}
  reference = references().get(task)
  if reference:
    scale = functools.partial(
      statistics.normalized, random=reference["random"], human=reference["human"]
    )
    row["hns"] = scale(row["mean"])
    intervals["hns"] = intervals["mean"] and [scale(bound) for bound in intervals["mean"]]
  if len(returns) > 1:
    row |= {"intervals": intervals, "level": statistics.LEVEL}
  return row


@functools.cache
def references() -> dict[str, dict[str, float]]:
  """Published scores by task, from `atari_scores.csv`.

  Random and human scores are from DQN Zoo, scores of agents after 100,000 steps from IRIS's result
  files.
  """
  with resources.files("muzero_jax").joinpath("evaluation/atari_scores.csv").open() as file:
    return {
      row.pop("task"): {name: float(value) for name, value in row.items() if value}
      for row in csv.DictReader(file)
    }


# Kinds of environments of which --env.task names one, in a way that no Atari game is called.
_NAMED = ("gymnax", "gymnasium", "custom")


def task_name(kind: str, task: str) -> str:
  """The name of the task in evaluations.jsonl.

  Only an environment of EnvPool has the name of one of EnvPool's tasks, with which published scores
  are found (`references`).

  Args:
    kind: the setting --env.kind.
    task: the setting --env.task. A kind of environment that does not read it has its default, an
      Atari game.
  """
  if kind == "envpool" or (kind in _NAMED and task not in references()):
    return task
  return kind if kind == "catch" or task == Env.task else f"{kind}:{task}"


def remade(kind: str) -> str:
  """What to know about scores of games that are not the original ones; "" for others.

  Args:
    kind: the setting --env.kind.
  """
  if kind != "jaxtari":
    return ""
  return "JAXtari's games are Atari games rewritten in JAX: their scores are not those of Atari."


def sentence(row: dict[str, Any] | None, random: dict[str, Any] | None = None) -> str:
  """Describes an evaluation in one sentence.

  Args:
    row: of evaluations.jsonl; None if there was no evaluation.
    random: the row of the random player, if it is to be mentioned.
  """
  if row is None:
    return "done (no evaluation was asked for)."
  text = (
    f"{row['task']} after {row['env_steps']:,} steps: "
    f"mean return {row['mean']:.2f} of {row['episodes']} episodes"
  )
  facts = [f"protocol {row['protocol']}"]
  if random:
    facts.append(f"random play {random['mean']:.2f} of {random['episodes']}")
  published = references().get(row["task"])
  if published:
    facts.append(f"published: random {published['random']:g}, human {published['human']:g}")
  return f"{text} ({', '.join(facts)}).{cut_off(row)}"


def cut_off(row: dict[str, Any]) -> str:
  """Says how many episodes were cut off at the step limit, after a space; "" if none were."""
  count = row.get("cut_off", 0)
  if not count:
    return ""
  text = f" {count} of the episodes {'was' if count == 1 else 'were'} cut off at the step limit"
  if row.get("stuck"):
    text += f", {row['stuck']} of them stuck: no reward, no life lost in the last {STUCK:,} steps"
  return f"{text}."


def details(row: dict[str, Any]) -> str:
  """Describes the statistics of an evaluation and their intervals in one line."""
  intervals = row.get("intervals", {})
  labels = {"mean": "mean", "median": "median", "iqm": "IQM", "hns": "human-normalized"}
  facts = [
    f"{label} {statistics.in_words(row[name], intervals.get(name))}"
    for name, label in labels.items()
    if name in row
  ]
  level = f"; [{row['level']:.0%} bootstrap interval over episodes]" if intervals else ""
  count = f"{row['episodes']} episode{'s' * (row['episodes'] > 1)}"
  return f"{', '.join(facts)} (protocol {row['protocol']}, {count}, 1 seed{level})"
