"""The environment protocol, and the one convention about time.

At step t the agent sees `frame_t` and chooses `a_t`; the environment answers with `reward_{t+1}`,
`discount_{t+1}` and `frame_{t+1}`. So a `TimeStep` holds the frame to act on and the reward and
discount of the transition *into* it.

* `first`: the step begins an episode. A reset takes a step of its own: the action sent before it
  was ignored, its reward is 0, its discount 1, and the pair (last, first) is no transition.
* `last`: the step ends an episode. Its frame is the final one, its reward that of the final
  transition. The next step is a `first`.
* `discount`: 0 where the return ends. An episode cut off by its time limit ends with `last` and
  discount 1. A lost life may set it to 0 in mid-episode (a training setting): the episode, its
  score, its length and the frame stack go on.
* Rewards are raw, as the game scores. Whoever trains on them clips them.
* Frames are single. Who needs S of them stacks them, repeating an episode's first frame where there
  are fewer (`replay/frames.py`).
"""

import dataclasses
from typing import Any, Protocol

import chex
import jax.numpy as jnp
import numpy as np

from muzero_jax.config import ConfigError
from muzero_jax.types import Array, Key, TimeStep

EnvState = Any  # a pytree of arrays, per device


class GameError(ConfigError):
  """A game that cannot be made as asked; the message is one sentence that says what to change."""


@dataclasses.dataclass(frozen=True)
class Spec:
  """Sizes of an environment."""

  num_envs: int  # B, per device
  num_actions: int  # A
  frame_shape: tuple[int, ...]  # (H, W), (H, W, channels) or (features,)
  frame_dtype: Any = np.uint8


class Environment(Protocol):
  """B games on one device. `send` and `recv` are pure functions for use under jit, called
  alternately, `recv` first.
  """

  @property
  def spec(self) -> Spec:
    """Sizes."""
    ...

  def reset(self, key: Key, device: int = 0) -> EnvState:
    """Starts every game of the given local device anew (on the host, between programs). The next
    `recv` yields first steps.
    """
    ...

  def send(self, state: EnvState, action: Array) -> EnvState:
    """Begins one agent step in every game. `action`: i32[B] in 0 .. A-1. May return before the
    games have stepped.
    """
    ...

  def recv(self, state: EnvState, after: Array | None = None) -> tuple[EnvState, TimeStep]:
    """Waits for the step that was begun, not before the array `after` is computed."""
    ...


def check_step(spec: Spec, time: TimeStep) -> None:
  """Compares shapes and dtypes with what `TimeStep` and the sizes promise, while tracing.

  Raises:
    AssertionError: one differs.
  """
  shape = (spec.num_envs, *spec.frame_shape)
  chex.assert_shape(time.frame, shape, custom_message="of the environment's frames")
  chex.assert_type(time.frame, spec.frame_dtype, custom_message="of the environment's frames")
  fields = [time.reward, time.discount, time.first, time.last]
  message = "of the environment's reward, discount, first, last"
  chex.assert_shape(fields, (spec.num_envs,), custom_message=message)
  chex.assert_type(fields, [jnp.float32, jnp.float32, bool, bool], custom_message=message)
