"""Evaluates the agent of a run under a protocol, and keeps the scores in evaluations.jsonl."""

import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import jax

from muzero_jax import build
from muzero_jax import config as configs
from muzero_jax.config import Config, StorageError
from muzero_jax.envs import envpool
from muzero_jax.evaluation import moments, protocols, recording, video
from muzero_jax.evaluation.canvas import Canvas
from muzero_jax.evaluation.evaluator import STUCK, EvaluationProgress, Evaluator
from muzero_jax.evaluation.scores import summary, task_name
from muzero_jax.runs import workdir
from muzero_jax.runs.journal import Journal
from muzero_jax.runs.progress import Progress, duration
from muzero_jax.search.base import Search
from muzero_jax.search.random import Random
from muzero_jax.types import Key, Model, Params

MOST = 4500  # agent steps of a video, by default: five minutes of Atari
FRAMES_PER_SECOND = 60  # of Atari's emulator
SLOW = 5  # agent steps per second of video, of environments that have no speed of their own


class Scoring:
  """Evaluates a run's agent under one protocol.

  Args:
    config: the run's configuration.
    folder: the run's folder.
    model: the agent's network.
    search: the search of training; used as it is for --evaluation.acting=sampled, otherwise its
      variant for evaluation.
    protocol: see `protocols.for_protocol`; "" is the configured one.

  Raises:
    ConfigError: the protocol does not have all actions that the run was trained on.
  """

  def __init__(
    self, config: Config, folder: Path, model: Model, search: Search, protocol: str = ""
  ):
    self.folder, self._model = folder, model
    self._search = search if protocols.sampled(config) else search.for_evaluation()
    self.protocol, self.config = protocols.for_protocol(
      config, protocol or config.evaluation.protocol
    )
    self.atari = build.is_atari(config)
    self.task = task_name(config.env.kind, config.env.task)
    # The evaluators of "trained" and "random", kept so that later evaluations need not compile
    # again. Runs that differ in their seed only, and whose environments are in JAX, may share them.
    self.players: dict[str, Evaluator] = {}
    self._journal = Journal(folder / "evaluations.jsonl")

  @property
  def compiled(self) -> bool:
    """Whether an evaluation has been made, so that the next one need not compile."""
    return "trained" in self.players

  def evaluate(
    self, params: Params, env_steps: int, agent: str = "trained"
  ) -> dict[str, Any] | None:
    """Plays the configured number of episodes.

    Args:
      params: the model's parameters, on one device.
      env_steps: agent steps that the agent was trained for.
      agent: "trained", or "random" for a random player.

    Returns:
      A row for evaluations.jsonl, which the caller shows and then gives to `keep`; None when the
      configured number of episodes is 0.
    """
    settings = self.config.evaluation
    episodes = settings.episodes if agent == "trained" else settings.random_episodes
    if not episodes:
      return None
    begun = time.perf_counter()
    first = "" if agent in self.players else "compiling ..."
    player = self._player(agent, min(settings.num_envs, episodes))
    with Progress(f"{agent} player", episodes, first=first) as progress:

      def show(now: EvaluationProgress) -> None:
        text = in_words(now, episodes, self.config.env.max_episode_steps if self.atari else 0)
        progress.show(now.over, f"{text}; {duration(time.perf_counter() - begun)} so far")

      played = player.play(params, self._key(env_steps, 0), episodes, between=show)
    return {
      "env_steps": env_steps,
      "task": self.task,
      "protocol": self.protocol,
      "agent": agent,
      **summary(played["returns"], self.task),
      "lengths": played["lengths"],
      "cut_off": sum(idle >= 0 for idle in played["idle"]),
      "stuck": sum(idle >= STUCK for idle in played["idle"]),
      "seconds": round(time.perf_counter() - begun, 3),
    }

  def keep(self, row: dict[str, Any]) -> None:
    """Appends a row to evaluations.jsonl; if that fails, it is tried again with the next row."""
    self._journal.append(row)

  def close(self) -> None:
    """Writes the rows that could not be written before.

    Raises:
      StorageError: they still cannot be written.
    """
    self._journal.close()

  def _key(self, env_steps: int, use: int) -> Key:
    """The key of one evaluation or video; it differs from all keys that training uses."""
    key = jax.random.fold_in(jax.random.key(self.config.seed), 2**31 + use)
    return jax.random.fold_in(key, env_steps % 2**32)

  def _player(self, agent: str, num_envs: int) -> Evaluator:
    """The evaluator of an agent with this number of environments."""
    trained = self.players.get("trained")
    if trained is None or trained.environment.spec.num_envs != num_envs:
      self.players.clear()
      # Discount 0 at a lost life, which does not end an episode, tells when a life is lost.
      config = configs.replace(self.config, {"env.life_loss_ends_return": True})
      trained = protocols.make_evaluator(config, self._search, self._model, num_envs)
      self.players["trained"] = trained
    if agent == "random" and agent not in self.players:
      self.players["random"] = dataclasses.replace(trained, search=Random())
    return self.players[agent]

  def record(
    self, params: Params, env_steps: int, *, plain: bool = False, most: int = MOST, fps: float = 0
  ) -> Path:
    """Records an episode as `video/STEPS.mp4`, and some of its moments as `STEPS.json`.

    Args:
      params: the model's parameters, on one device.
      env_steps: agent steps that the agent was trained for.
      plain: show the game alone, without what the agent sees and thinks.
      most: agent steps after which the recording stops. Of short episodes several are recorded.
      fps: agent steps per second; 0: the true speed of Atari, 5 for other environments.

    Raises:
      StorageError: a file cannot be written.
    """
    offset = -2 - env_steps
    evaluator = protocols.make_evaluator(self.config, self._search, self._model, 1, offset)
    seed = build.env_seed(self.config.seed, offset)
    renderer = (
      envpool.renderer(self.config.env.task, seed, build.atari(self.config)) if self.atari else None
    )
    names = build.action_names(self.config, evaluator.environment.spec.num_actions)
    targets = self.config.targets
    with Progress("playing", most) as playing:
      recorded = recording.play(
        evaluator,
        params,
        self._key(env_steps, 1),
        discount=targets.discount,
        clip=targets.clip_rewards,
        names=names,
        renderer=renderer,
        most=most,
        progress=lambda steps, score: playing.show(steps, f"step {steps:,}, score {score:g}"),
      )
    frames = build.frames_per_step(self.config)
    fps = fps or (FRAMES_PER_SECOND / frames if frames else SLOW)
    path = self.folder / "video" / f"{env_steps}.mp4"
    drawn = None if plain else Canvas(recorded, self.task, names, self._search.simulations)
    try:
      with Progress("drawing", len(recorded.steps)) as drawing:
        video.write(path, recorded, drawn, fps, lambda done: drawing.show(done, f"{done:,} images"))
      found = {"task": self.task, "env_steps": env_steps, "search": self.config.search.kind}
      text = json.dumps(found | {"moments": moments.found(recorded)})
      workdir.write(path.with_suffix(".json"), text)
    except OSError as error:
      raise StorageError(f"{path} cannot be written ({error.strerror or error}).") from error
    print(f"video: {path} ({_length(recorded)})", flush=True)
    return path


def in_words(now: EvaluationProgress, episodes: int, limit: int) -> str:
  """How far an evaluation is, in words.

  Args:
    now: how far it is.
    episodes: number of episodes to be played.
    limit: agent steps after which an episode is truncated; 0 if that is not known.
  """
  text = f"{min(now.over, episodes)} of {episodes} episodes over"
  if now.over < episodes:
    text += f", at step {now.steps:,}" + (f" of {limit:,}" if limit else "")
  if now.stuck:
    text += f", {now.stuck} stuck (no reward, no life lost for {STUCK:,} steps)"
  return text


def _length(recorded: recording.Recording) -> str:
  """How long a recording is, in words, and its scores."""
  scores, steps = recorded.scores, len(recorded.steps) - len(recorded.scores)
  what = "an episode" if len(scores) == 1 else f"{len(scores)} episodes"
  end = ", cut off there by --steps" if recorded.cut_off else ""
  score = f"a score of {scores[0]:g}" if len(scores) == 1 else f"scores of {_listed(scores)}"
  return f"{what} of {steps:,} step{'s' * (steps != 1)} with {score}{end}"


def _listed(scores: list[float]) -> str:
  return ", ".join(f"{score:g}" for score in scores)
