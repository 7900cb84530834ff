"""Playing whole games to see how good an agent is."""

import csv
import dataclasses
import functools
from collections.abc import Callable
from importlib import resources
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax import actor
from muzero_jax.actor import EpisodeStatistics
from muzero_jax.envs.base import Environment, check_step
from muzero_jax.evaluation import intervals as statistics
from muzero_jax.networks.model import initial_inference
from muzero_jax.types import Array, Decision, Key, Model, Params, SearchFn, TimeStep, record


@record
class Player:
  """B games being played by an agent that only watches: a stack of frames instead of a replay."""

  env: Any
  frames: Array  # u8[B, S, *frame_shape]
  key: Key


@record
class Games:
  """Up to G finished games in each of B environments."""

  episodes: EpisodeStatistics
  played: Array  # i32[B]
  score: Array  # f32[B, G]
  length: Array  # i32[B, G]


@dataclasses.dataclass(frozen=True)
class Evaluator:
  """Plays the same number of whole games in every environment: no game is preferred for being
  short.
  """

  environment: Environment
  model: Model
  search: SearchFn
  stack: int

  def start(self, key: Key) -> Player:
    """New games. On the host, with no program running."""
    env_key, key = jax.random.split(key)
    spec = self.environment.spec
    frames = jnp.zeros((spec.num_envs, self.stack, *spec.frame_shape), spec.frame_dtype)
    return Player(self.environment.reset(env_key), frames, key)

  def step(self, params: Params, player: Player) -> tuple[Player, TimeStep, Decision]:
    """One step of every game: look, think, act."""
    key, search_key = jax.random.split(player.key)
    env, time = self.environment.recv(player.env)
    check_step(self.environment.spec, time)
    frames = push(player.frames, time)
    decision = self.search(params, search_key, initial_inference(self.model, params, frames))
    return Player(self.environment.send(env, decision.action), frames, key), time, decision

  def play(
    self, params: Params, key: Key, episodes: int, between: Callable[[int], None] | None = None
  ) -> dict[str, list]:
    """Plays.

    Args:
      params: of the model, on one device.
      key: of the search, and of pure-JAX games.
      episodes: whole games.
      between: told every few seconds how many games are over.

    Returns:
      returns: list of floats, raw scores; lengths: list of agent steps.
    """
    spec = self.environment.spec
    rounds = -(-episodes // spec.num_envs)
    zeros = jnp.zeros((spec.num_envs, rounds))
    games = Games(
      actor.no_episodes(spec.num_envs),
      jnp.zeros(spec.num_envs, jnp.int32),
      zeros,
      zeros.astype(jnp.int32),
    )
    player = self.start(key)
    while int(games.played.min()) < rounds:
      player, games = self._program(params, player, games)
      if between:
        between(int(games.played.sum()))
    jax.block_until_ready(player)
    # Game by game over all environments, so that a rest is cut off without a look at how long games
    # took.
    scores, lengths = np.asarray(games.score).T.reshape(-1), np.asarray(games.length).T.reshape(-1)
    return {"returns": scores[:episodes].tolist(), "lengths": lengths[:episodes].tolist()}

  @functools.cached_property
  def _program(self) -> Callable:
    """Up to 256 steps."""
    return jax.jit(functools.partial(self._chunk, steps=256))

  def _chunk(
    self, params: Params, player: Player, games: Games, steps: int
  ) -> tuple[Player, Games]:
    rounds = games.score.shape[1]

    def going_on(carry):
      step, _, games = carry
      return (step < steps) & (games.played.min() < rounds)

    def body(carry):
      step, player, games = carry
      player, time, _ = self.step(params, player)
      return step + 1, player, finish(games, time)

    _, player, games = jax.lax.while_loop(going_on, body, (jnp.int32(0), player, games))
    return player, games


def push(frames: Array, time: TimeStep) -> Array:
  """The stacks u8[B, S, ...] after one more step; a first frame fills its stack (the ring's rule,
  `replay/frames.py`).
  """
  pushed = jnp.concatenate([frames[:, 1:], time.frame[:, None]], 1)
  filled = jnp.broadcast_to(time.frame[:, None], frames.shape)
  return jnp.where(time.first.reshape(-1, *[1] * (frames.ndim - 1)), filled, pushed)


def finish(games: Games, time: TimeStep) -> Games:
  """Writes down the games that end with this step, unless an environment has played all of its
  games.
  """
  episodes = actor.count(games.episodes, time)
  envs = jnp.arange(games.played.shape[0])
  slot = jnp.where(time.last, games.played, games.score.shape[1])  # out of range: not written
  return Games(
    episodes,
    games.played + (time.last & (games.played < games.score.shape[1])),
    games.score.at[envs, slot].set(episodes.score, mode="drop"),
    games.length.at[envs, slot].set(episodes.length, mode="drop"),
  )


def summary(returns: list[float], task: str) -> dict[str, Any]:
  """Statistics of one run's games.

  Args:
    returns: of whole games, one at least.
    task: the game.

  Returns:
    episodes; seeds (1: it is one run); mean, median, iqm; returns; hns, the human-normalized score,
    where the game has published references; and, of two games or more, intervals (bootstrap over
    games, [low, high] each) of these, and their level.
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


def references() -> dict[str, dict[str, float]]:
  """Published scores by task: random and human (DQN Zoo), and of agents after 100k steps (IRIS
  result files).
  """
  with resources.files("muzero_jax").joinpath("evaluation/atari_scores.csv").open() as file:
    return {
      row.pop("task"): {name: float(value) for name, value in row.items() if value}
      for row in csv.DictReader(file)
    }
