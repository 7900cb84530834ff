"""The interface that every environment implements, and the meaning of the fields of a `TimeStep`.

At step t the agent sees `frame_t` and chooses `a_t`; the environment answers with `reward_{t+1}`,
`discount_{t+1}` and `frame_{t+1}`. So a `TimeStep` holds the frame to act on and the reward and
discount of the transition *into* it.

* `first`: the step begins an episode. A reset takes a step of its own: the environment ignores the
  action that was sent before it, the reward of the step is 0, its discount is 1, and the pair
  (last, first) is not a transition.
* `last`: the step ends an episode. Its frame is the final one, and its reward is that of the final
  transition. The next step is a `first`.
* `discount`: 0 where the return ends. An episode truncated by its time limit ends with `last` and
  discount 1. A training setting can make a lost life set the discount to 0 in the middle of an
  episode; the episode, its score, its length and the frame stack continue.
* Rewards are raw: the change of the game's score. The learner clips them.
* A frame is a single observation, not a stack. Callers that need a stack of S frames build it; at
  the beginning of an episode they repeat its first frame (`replay/frames.py`).
"""

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any, Protocol

import chex
import jax.numpy as jnp
import numpy as np

from muzero_jax.config import ConfigError
from muzero_jax.types import Array, Key, TimeStep

EnvState = Any  # a pytree of arrays, per device


class GameError(ConfigError):
  """The environment cannot be made as requested; the message is a sentence with the remedy."""


def no_such_game(task: str, library: str, tasks: Iterable[str]) -> GameError:
  """The error for a task that is not one of the library's `tasks`; suggests the most similar."""
  near = difflib.get_close_matches(task, tasks, 1)
  return GameError(
    f"--env.task={task}: {library} has no such game"
    + (f"; did you mean {near[0]}?" if near else ".")
  )


@dataclasses.dataclass(frozen=True)
class Spec:
  """The number of environments and actions, and the shape and dtype of frames."""

  num_envs: int  # B, per device
  num_actions: int  # A
  frame_shape: tuple[int, ...]  # (H, W), (H, W, channels) or (features,)
  frame_dtype: Any = np.uint8


class Environment(Protocol):
  """B environments on one device.

  `send` and `recv` are pure functions for use under jit. They are called alternately, beginning
  with `recv`.
  """

  @property
  def spec(self) -> Spec: ...

  def reset(self, key: Key, device: int = 0) -> EnvState:
    """Resets all environments of the given local device; the next `recv` returns first steps.

    Called on the host, while no compiled program is running.
    """
    ...

  def send(self, state: EnvState, action: Array) -> EnvState:
    """Starts one agent step in every environment; may return before the step is finished.

    Args:
      state: what the last `recv` returned.
      action: i32[B] in 0 .. A-1.
    """
    ...

  def recv(self, state: EnvState, after: Array | None = None) -> tuple[EnvState, TimeStep]:
    """Waits for the step that the last `send` or `reset` started, and returns its result.

    Args:
      state: what the last `send` or `reset` returned.
      after: an array that must be computed before the wait begins.
    """
    ...


def check_step(spec: Spec, timestep: TimeStep) -> None:
  """Checks, at trace time, that shapes and dtypes are those of `TimeStep` and of `spec`.

  Raises:
    AssertionError: a shape or dtype differs.
  """
  shape = (spec.num_envs, *spec.frame_shape)
  chex.assert_shape(timestep.frame, shape, custom_message="of the environment's frames")
  chex.assert_type(timestep.frame, spec.frame_dtype, custom_message="of the environment's frames")
  fields = [timestep.reward, timestep.discount, timestep.first, timestep.last]
  message = "of the environment's reward, discount, first, last"
  chex.assert_shape(fields, (spec.num_envs,), custom_message=message)
  chex.assert_type(fields, [jnp.float32, jnp.float32, bool, bool], custom_message=message)
