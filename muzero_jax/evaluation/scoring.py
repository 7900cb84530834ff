"""Evaluates the agent of a run, writes evaluations.jsonl, and makes the outputs of a finished run.

These outputs are the score of a random player, the learning curve, a video and the report page.
"""

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any

import jax
from tqdm import tqdm

from muzero_jax import build
from muzero_jax.config import Config
from muzero_jax.envs import envpool
from muzero_jax.evaluation import intervals as statistics
from muzero_jax.evaluation import protocols
from muzero_jax.evaluation.evaluator import Evaluator, references, summary
from muzero_jax.evaluation.video import record_game
from muzero_jax.reporting import page
from muzero_jax.reporting.plots import draw_curve
from muzero_jax.runs import metrics
from muzero_jax.search.base import Search
from muzero_jax.search.random import Random
from muzero_jax.types import Key, Model, Params


class Scoring:
  """Evaluates a run's agent under one protocol.

  Args:
    config: the run's configuration.
    folder: the run's folder.
    model: the agent's network.
    search: the search of training; its variant for evaluation is used.
    protocol: see `protocols.for_protocol`; "" is the configured one.

  Raises:
    ConfigError: the run was trained on another action set than the protocol's.
  """

  def __init__(
    self, config: Config, folder: Path, model: Model, search: Search, protocol: str = ""
  ):
    self.folder, self._model, self._search = folder, model, search
    self.protocol, self.config = protocols.for_protocol(
      config, protocol or config.evaluation.protocol
    )
    self.atari = build.is_atari(config)
    self.task = task_name(config)
    self._evaluator: Evaluator | None = None

  def evaluate(
    self, params: Params, env_steps: int, agent: str = "trained"
  ) -> dict[str, Any] | None:
    """Plays the configured number of episodes and appends a row to evaluations.jsonl.

    Args:
      params: the model's parameters, on one device.
      env_steps: agent steps that the agent was trained for.
      agent: "trained", or "random" for a random player.

    Returns:
      The row, or None when the configured number of episodes is 0.
    """
    settings = self.config.evaluation
    episodes = settings.episodes if agent == "trained" else settings.random_episodes
    if not episodes:
      return None
    begun = time.perf_counter()
    player = self._player(agent, min(settings.num_envs, episodes))
    with tqdm(
      total=episodes,
      unit="game",
      desc=f"{agent} player",
      disable=not sys.stderr.isatty(),
      leave=False,
    ) as bar:

      def show(over: int) -> None:
        bar.update(min(over, episodes) - bar.n)

      games = player.play(params, self._key(env_steps, 0), episodes, between=show)
    row = {
      "env_steps": env_steps,
      "task": self.task,
      "protocol": self.protocol,
      "agent": agent,
      **summary(games["returns"], self.task),
      "lengths": games["lengths"],
      "seconds": round(time.perf_counter() - begun, 3),
    }
    metrics.append(self.folder / "evaluations.jsonl", row)
    return row

  def _key(self, env_steps: int, use: int) -> Key:
    """The key of one evaluation or video; it differs from all keys that training uses."""
    key = jax.random.fold_in(jax.random.key(self.config.seed), 2**31 + use)
    return jax.random.fold_in(key, env_steps)

  def _player(self, agent: str, num_envs: int) -> Evaluator:
    """The evaluator, which is kept so that later evaluations need not compile again."""
    if self._evaluator is None or self._evaluator.environment.spec.num_envs != num_envs:
      search = self._search.for_evaluation()
      self._evaluator = protocols.make_evaluator(self.config, search, self._model, num_envs)
    if agent == "random":
      return dataclasses.replace(self._evaluator, search=Random())
    return self._evaluator

  def record(self, params: Params, env_steps: int) -> Path:
    """Records one episode as `video/STEPS.mp4`; Atari is recorded in color."""
    offset = -2 - env_steps
    evaluator = protocols.make_evaluator(
      self.config, self._search.for_evaluation(), self._model, 1, offset
    )
    seed = build.env_seed(self.config.seed, offset)
    renderer = (
      envpool.renderer(self.config.env.task, seed, build.atari(self.config)) if self.atari else None
    )
    path = self.folder / "video" / f"{env_steps}.mp4"
    score, steps = record_game(evaluator, params, self._key(env_steps, 1), path, renderer=renderer)
    print(f"video: {path} (an episode of {steps:,} steps with a score of {score:g})", flush=True)
    return path

  def finish(self, params: Params, env_steps: int) -> None:
    """Makes the outputs of a finished run, and prints a summary.

    Evaluations of the agent and of the random player, and the video, are not repeated if they
    exist; curve and report are made anew.
    """
    done = metrics.read(self.folder / "evaluations.jsonl")
    rows = {}
    for agent in ("trained", "random"):
      found = [
        row for row in done if row.get("agent") == agent and row["protocol"] == self.protocol
      ]
      found = [row for row in found if agent == "random" or row["env_steps"] == env_steps]
      rows[agent] = found[-1] if found else self.evaluate(params, env_steps, agent)
    curve = draw_curve(self.folder, f"{self.task}, seed {self.config.seed}")
    video = self.folder / "video" / f"{env_steps}.mp4"
    if self.config.video and not video.exists():
      self.record(params, env_steps)
    places = f"curve: {curve}" + (f"  video: {video}" if video.exists() else "")
    places += f"  report: {page.write([self.folder])}"
    print(f"{sentence(rows['trained'], rows['random'])}  {places}", flush=True)


def task_name(config: Config) -> str:
  """The name of the task in evaluations.jsonl."""
  return "catch" if config.env.kind == "catch" else config.env.task


def sentence(row: dict[str, Any] | None, chance: dict[str, Any] | None = None) -> str:
  """Describes an evaluation in one sentence.

  Args:
    row: of evaluations.jsonl; None if there was no evaluation.
    chance: the row of the random player, if it is to be mentioned.
  """
  if row is None:
    return "done (no evaluation was asked for)."
  text = (
    f"{row['task']} after {row['env_steps']:,} steps: "
    f"mean return {row['mean']:.2f} of {row['episodes']} games"
  )
  facts = [f"protocol {row['protocol']}"]
  if chance:
    facts.append(f"random play {chance['mean']:.2f} of {chance['episodes']}")
  published = references().get(row["task"])
  if published:
    facts.append(f"published: random {published['random']:g}, human {published['human']:g}")
  return f"{text} ({', '.join(facts)})."


def details(row: dict[str, Any]) -> str:
  """Describes the statistics of an evaluation and their intervals in one line."""
  intervals = row.get("intervals", {})
  labels = {"mean": "mean", "median": "median", "iqm": "IQM", "hns": "human-normalized"}
  facts = [
    f"{label} {statistics.in_words(row[name], intervals.get(name))}"
    for name, label in labels.items()
    if name in row
  ]
  level = f"; [{row['level']:.0%} bootstrap interval over games]" if intervals else ""
  games = f"{row['episodes']} game{'s' * (row['episodes'] > 1)}"
  return f"{', '.join(facts)} (protocol {row['protocol']}, {games}, 1 seed{level})"
