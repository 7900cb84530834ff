"""The section that compares agents over seeds and games: scores, profiles, improvement."""

import dataclasses
import itertools
from collections.abc import Sequence
from xml.etree.ElementTree import Element

import numpy as np

from muzero_jax.evaluation import comparison, intervals
from muzero_jax.evaluation.scores import references
from muzero_jax.reporting import charts
from muzero_jax.reporting.charts import Band, Chart, Line
from muzero_jax.reporting.elements import chart, note, number, table, tag
from muzero_jax.runs import history
from muzero_jax.runs.history import Group, RunRecord

MOST = 5  # agents of which every pair is compared; of more, each with the first one only
# Statistics over games, and the column heads of their table.
_OVER = {"iqm": "IQM", "median": "median", "mean": "mean", "optimality_gap": "optimality gap"}


@dataclasses.dataclass(frozen=True)
class Agent:
  """Runs with equal settings, in one game or several, and the scores of their last evaluations."""

  name: str
  color: str
  games: dict[str, np.ndarray]  # for each game the raw score of each run


def section(runs: Sequence[RunRecord], groups: Sequence[Group]) -> list[Element]:
  """The agents' scores over games, performance profiles, and for pairs of them the probability of
  improvement.

  An agent is what has the same settings in all games. Without two runs of an agent in a game there
  is nothing to say about its variation between runs, and no section but for scores over games.
  """
  protocol = _protocol(runs)
  agents = _agents(runs, groups, protocol)
  over_games = _over_games(agents)
  varied = any(len(scores) > 1 for agent in agents for scores in agent.games.values())
  if not (varied or over_games):
    return []
  return [
    tag("h2", "Comparison over runs"),
    *over_games,
    *(_profiles(agents) if varied else []),
    *(_improvement(agents) if varied else []),
    note(
      f"Scores are means of each run's last evaluation under protocol {protocol}. Bands and "
      f"brackets: {intervals.LEVEL:.0%} stratified bootstrap intervals over runs; they need two "
      "runs in every game. Definitions: Agarwal et al. 2021, Deep RL at the Edge of the "
      "Statistical Precipice."
    ),
  ]


def _protocol(runs: Sequence[RunRecord]) -> str:
  """The protocol under which most runs were evaluated; the first one of several."""
  found = [dict.fromkeys(str(row.get("protocol")) for row in run.scores("trained")) for run in runs]
  names = [name for protocols in found for name in protocols]
  return max(dict.fromkeys(names), key=names.count, default="")


def _agents(runs: Sequence[RunRecord], groups: Sequence[Group], protocol: str) -> list[Agent]:
  """The agents that have a score; each has the color of the group of its first run."""
  found, members_of_all = [], history.grouped(runs, apart_from=("env.task",))
  for members in members_of_all:
    games: dict[str, list[float]] = {}
    for run in members.runs:
      rows = [row for row in run.scores("trained") if str(row.get("protocol")) == protocol]
      if rows:
        games.setdefault(run.task, []).append(rows[-1]["mean"])
    color = next(charts.color(group) for group in groups if members.runs[0] in group.runs)
    if games:
      scores = {task: np.asarray(values, np.float64) for task, values in games.items()}
      name = members.name if len(members_of_all) > 1 else "these runs"
      found.append(Agent(name, color, scores))
  return found


def _over_games(agents: Sequence[Agent]) -> list[Element]:
  """A table of human-normalized scores over the games of each agent that has two or more such."""
  rows = []
  for agent in agents:
    tasks = [task for task in agent.games if task in references()]
    if len(tasks) > 1:
      scores = [_scaled(agent, task, normalized=True) for task in tasks]
      found = intervals.over_games(scores)
      words = [intervals.in_words(found[name]["value"], found[name]["interval"]) for name in _OVER]
      rows.append([agent.name, *words, number(len(tasks)), number(sum(map(len, scores)))])
  if not rows:
    return []
  header = ["agent", *_OVER.values(), "games", "runs"]
  about = note(
    "0 is random play, 1 a human. Every game of an agent weighs alike; agents that have played "
    "other games cannot be compared by these numbers."
  )
  return [tag("h3", "Human-normalized scores over games"), table(header, rows), about]


def _profiles(agents: Sequence[Agent]) -> list[Element]:
  """A chart of the profiles over the games that all agents have played."""
  shared = [task for task in agents[0].games if all(task in agent.games for agent in agents)]
  scale = references()
  tasks = shared if len(shared) == 1 else [task for task in shared if task in scale]
  if not tasks:
    text = (
      "There is no game with published scores that all agents have played: no performance profile."
    )
    return [note(text)]
  normalized = all(task in scale for task in tasks)
  scores = [[_scaled(agent, task, normalized) for task in tasks] for agent in agents]
  x = "human-normalized score" if normalized else "return"
  at = comparison.thresholds(scores)
  at = at[np.append(np.diff(_shown(at)) > 0, True)]
  lines, bands = [], []
  for agent, games in zip(agents, scores, strict=True):
    bounds = comparison.profile_interval(games, at)
    if bounds is not None:
      low, high = bounds.tolist()
      ends = ("high end of the interval", "low end of the interval")
      bands.append(Band("interval", agent.color, at.tolist(), low, high, ends))
    shown = comparison.profile(games, at).tolist()
    lines.append(Line(agent.name, agent.color, at.tolist(), shown))
  over = ", ".join(tasks) if len(tasks) <= 3 else f"{len(tasks)} games"
  drawn = Chart(
    f"Performance profile: {over}", f"{x} τ", "fraction of runs above τ", lines, bands, steps=True
  )
  return [chart(drawn, large=True)]


def _shown(x: np.ndarray) -> np.ndarray:
  """Numbers as the page has them, with six digits."""
  return np.asarray([float(f"{value:.6g}") for value in x])


def _scaled(agent: Agent, task: str, normalized: bool) -> np.ndarray:
  if not normalized:
    return agent.games[task]
  random, human = (references()[task][player] for player in ("random", "human"))
  return np.asarray([intervals.normalized(score, random, human) for score in agent.games[task]])


def _improvement(agents: Sequence[Agent]) -> list[Element]:
  """A table with a row for each pair of agents that have played the same game."""
  pairs = list(itertools.combinations(agents, 2))
  if len(agents) > MOST:
    pairs = [(agent, agents[0]) for agent in agents[1:]]
  rows = []
  for x, y in pairs:
    tasks = [task for task in x.games if task in y.games]
    if tasks:
      a, b = ([agent.games[task] for task in tasks] for agent in (x, y))
      bounds = comparison.improvement_interval(a, b)
      words = intervals.in_words(float(comparison.improvement(a, b)), bounds)
      counts = [f"{sum(map(len, games))}" for games in (a, b)]
      rows.append([x.name, y.name, words, number(len(tasks)), *counts])
  if not rows:
    return []
  header = ["X", "Y", "P(X > Y)", "games", "runs of X", "runs of Y"]
  about = note("P(X > Y): the probability that a run of X has a higher score than a run of Y.")
  return [tag("h3", "Probability of improvement"), table(header, rows), about]
