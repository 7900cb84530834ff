"""Builders of settings, and of the data types that components exchange (`muzero_jax/types.py`).

A test names the fields that it is about; the others have neutral values of the right shape and
dtype. What is given is converted to the field's dtype and broadcast to its shape, so that a scalar
fills the field, and the row of one example serves a whole batch. Frames are taken as they are.
"""

import dataclasses
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np

from muzero_jax import config as configs
from muzero_jax.config import Config
from muzero_jax.types import Array, Decision, Example, Targets, TimeStep

T = TypeVar("T")


def config(**settings: Any) -> Config:
  """The default settings with changes, by dotted name with "__" for the dots."""
  return configs.replace(
    Config(), {name.replace("__", "."): value for name, value in settings.items()}
  )


def example(
  size: int | None = None,
  *,
  unroll: int = 2,
  n_step: int = 1,
  stack: int = 1,
  num_actions: int = 2,
  frames: Any = None,
  first: Any = False,
  action: Any = 0,
  reward: Any = 0,
  discount: Any = 1,
  last: Any = False,
  policy: Any = None,
  value: Any = 0,
  log_prob: Any = 0,
  advantage: Any = 0,
  age: Any = 0,
) -> Example:
  """A mid-episode example without rewards, with uniform policies.

  Args:
    size: N, or None for one example without a batch axis.
    unroll: k.
    n_step: n.
    stack: S.
    num_actions: A.
    frames: [N, S+E, ...]; by default black u8 frames of one pixel, with E = k + n.
    first: and all others, see `Example`.
  """
  batch = () if size is None else (size,)
  length = unroll + n_step + 1
  if frames is None:
    frames = np.zeros((*batch, stack + length - 1, 1), np.uint8)
  return Example(
    frames=jnp.asarray(frames),
    first=_array(first, jnp.bool_, *frames.shape[: len(batch) + 1]),
    action=_array(action, jnp.int32, *batch, length - 1),
    reward=_array(reward, jnp.float32, *batch, length - 1),
    discount=_array(discount, jnp.float32, *batch, length - 1),
    last=_array(last, jnp.bool_, *batch, length),
    policy=_array(
      1 / num_actions if policy is None else policy, jnp.float32, *batch, unroll + 1, num_actions
    ),
    value=_array(value, jnp.float32, *batch, length),
    log_prob=_array(log_prob, jnp.float32, *batch, length - 1),
    advantage=_array(advantage, jnp.float32, *batch),
    age=_array(age, jnp.int32, *batch),
  )


def targets(
  size: int,
  unroll: int,
  num_actions: int = 2,
  *,
  reward: Any = 0,
  value: Any = 0,
  policy: Any = None,
  policy_mask: Any = 1,
  target_mask: Any = 1,
) -> Targets:
  """Targets of zeros and uniform policies, with all masks 1."""
  steps = size, unroll + 1
  return Targets(
    reward=_array(reward, jnp.float32, size, unroll),
    value=_array(value, jnp.float32, *steps),
    policy=_array(1 / num_actions if policy is None else policy, jnp.float32, *steps, num_actions),
    policy_mask=_array(policy_mask, jnp.float32, *steps),
    target_mask=_array(target_mask, jnp.float32, *steps),
  )


def decision(
  size: int,
  num_actions: int = 2,
  *,
  action: Any = 0,
  policy: Any = 0,
  value: Any = 0,
  log_prob: Any = 0,
  advantage: Any = 0,
  depth: Any = 0,
) -> Decision:
  """The decisions of `size` environments; all zeros, policies included."""
  return Decision(
    action=_array(action, jnp.int32, size),
    policy=_array(policy, jnp.float32, size, num_actions),
    value=_array(value, jnp.float32, size),
    log_prob=_array(log_prob, jnp.float32, size),
    advantage=_array(advantage, jnp.float32, size),
    depth=_array(depth, jnp.float32, size),
  )


def time_step(
  size: int,
  *,
  frame: Any = None,
  reward: Any = 0,
  discount: Any = 1,
  first: Any = False,
  last: Any = False,
) -> TimeStep:
  """A step of `size` environments in mid-episode; by default with black u8 frames of one pixel."""
  return TimeStep(
    frame=jnp.asarray(np.zeros((size, 1), np.uint8) if frame is None else frame),
    reward=_array(reward, jnp.float32, size),
    discount=_array(discount, jnp.float32, size),
    first=_array(first, jnp.bool_, size),
    last=_array(last, jnp.bool_, size),
  )


def filled(kind: type[T], value: Any, /, **fields: Any) -> T:
  """A record of the type `kind` whose fields are all `value`, but for those given.

  With None, it is one of which nothing else may be looked at.
  """
  names = [field.name for field in dataclasses.fields(kind)]
  return kind(**dict.fromkeys(names, value) | fields)


def _array(value: Any, dtype: Any, *shape: int) -> Array:
  if np.isscalar(value):
    return jnp.asarray(np.full(shape, value, dtype))
  return jnp.broadcast_to(jnp.asarray(value, dtype), shape)
