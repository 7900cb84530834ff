"""Adapter for pure-JAX environments with gymnax's interface (Lange 2022), such as MinAtar."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax import optional
from muzero_jax.envs.base import GameError, no_such_game
from muzero_jax.envs.pure import Game


def make(task: str, full_action_set: bool = False) -> Game:
  """Makes the environment that gymnax calls `task`, for example "Breakout-MinAtar".

  Args:
    task: its name.
    full_action_set: MinAtar: all six actions (Young and Tian 2019) instead of those that the game
      uses; the others do nothing.

  Raises:
    GameError: as in `check_task`.
  """
  check_task(task, full_action_set)
  import gymnax

  options = {"use_minimal_action_set": False} if full_action_set else {}
  return adapt(*gymnax.make(task, **options))


def check_task(task: str, full_action_set: bool = False) -> None:
  """Checks that gymnax has the task, with such actions.

  Raises:
    GameError: it has not, or is not installed; the message suggests the most similar name.
  """
  with optional.needed("--env.kind=gymnax needs gymnax", "gymnax", GameError):
    import gymnax
  if task not in gymnax.registered_envs:
    raise no_such_game(task, "gymnax", gymnax.registered_envs)
  if full_action_set and not task.endswith("-MinAtar"):
    raise GameError(
      f"--env.full_action_set: {task} of gymnax has one set of actions; leave the flag out."
    )


def adapt(env: Any, params: Any) -> Game:
  """Makes a `Game` from an object with gymnax's `reset_env`, `step_env`, `is_truncated` and spaces.

  Observations keep their shape; one of rank 3 is an image (H, W, channels). If its space is bounded
  by 0 and 1 (as MinAtar's planes are), it is converted to u8 in 0..255, so that an element takes
  one byte in the replay; all other observations are float32.
  """
  space = env.observation_space(params)
  shape = tuple(space.shape)
  planes = (
    len(shape) == 3 and np.all(np.asarray(space.low) >= 0) and np.all(np.asarray(space.high) <= 1)
  )
  dtype = np.uint8 if planes else np.float32

  def frame(observation):
    return (observation * 255).astype(dtype) if planes else observation.astype(dtype)

  def stable(state):
    # gymnax states contain Python numbers and weakly typed arrays. Without fixed dtypes, a scan
    # would reject the state: its carry must have the same types on input and output.
    return jax.tree.map(
      lambda x: jnp.asarray(x, jax.dtypes.canonicalize_dtype(jnp.result_type(x))), state
    )

  def reset(key):
    observation, state = env.reset_env(key, params)
    return stable(state), frame(observation)

  def step(key, state, action):
    observation, state, reward, terminated, _ = env.step_env(key, state, action, params)
    last = terminated | env.is_truncated(state, params)
    return stable(state), frame(observation), reward, 1.0 - terminated, last

  return Game(reset, step, num_actions=env.num_actions, frame_shape=shape, frame_dtype=dtype)
