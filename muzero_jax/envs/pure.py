"""Turns the rules of one environment, written in JAX, into a batched `base.Environment`."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.envs.base import Spec
from muzero_jax.types import Array, Key, TimeStep, record


class Game(NamedTuple):
  """The rules of an environment, as pure functions for a single instance."""

  reset: Callable[[Key], tuple[Any, Array]]  # key -> state, frame
  step: Callable[[Key, Any, Array], tuple[Any, Array, Array, Array, Array]]
  """key, state, action i32[] -> state, frame, reward f32[], discount f32[], last bool[]"""
  num_actions: int
  frame_shape: tuple[int, ...]
  frame_dtype: Any = np.uint8


@record
class PureState:
  """The state of B environments."""

  key: Key
  games: Any  # the states of the `Game`, with a leading axis B
  time: TimeStep  # what `recv` returns


@dataclasses.dataclass(frozen=True)
class PureEnvironment:
  """B instances of a `Game`; the step after an episode's last step is a reset."""

  game: Game
  num_envs: int

  @property
  def spec(self) -> Spec:
    return Spec(self.num_envs, self.game.num_actions, self.game.frame_shape, self.game.frame_dtype)

  def reset(self, key: Key, device: int = 0) -> PureState:
    """See `base.Environment`. `device` is unused; devices differ by their keys."""
    del device
    key, games_key = jax.random.split(key)
    games, frame = jax.vmap(self.game.reset)(jax.random.split(games_key, self.num_envs))
    return PureState(key, games, self._first(frame))

  def send(self, state: PureState, action: Array) -> PureState:
    """See `base.Environment`. The whole step happens here; `recv` only returns its result."""
    key, step_key, reset_key = jax.random.split(state.key, 3)
    keys = jax.random.split(step_key, self.num_envs)
    games, frame, reward, discount, last = jax.vmap(self.game.step)(keys, state.games, action)
    stepped = TimeStep(
      frame=frame.astype(self.game.frame_dtype),
      reward=reward.astype(jnp.float32),
      discount=discount.astype(jnp.float32),
      first=jnp.zeros(self.num_envs, bool),
      last=last.astype(bool),
    )
    fresh, frame = jax.vmap(self.game.reset)(jax.random.split(reset_key, self.num_envs))

    def choose(new, old):
      return jnp.where(state.time.last.reshape((-1,) + (1,) * (old.ndim - 1)), new, old)

    games, time = jax.tree.map(choose, (fresh, self._first(frame)), (games, stepped))
    return PureState(key, games, time)

  def recv(self, state: PureState, after: Array | None = None) -> tuple[PureState, TimeStep]:
    del after
    return state, state.time

  def _first(self, frame: Array) -> TimeStep:
    zeros = jnp.zeros(self.num_envs, jnp.float32)
    flags = jnp.zeros(self.num_envs, bool)
    return TimeStep(
      frame.astype(self.game.frame_dtype),
      reward=zeros,
      discount=zeros + 1,
      first=~flags,
      last=flags,
    )
