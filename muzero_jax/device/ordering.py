"""Data ties: the only way to tell every supported XLA in which order to run things.

EnvPool's `send` returns at once and its `recv` blocks, so the learner must run between the two. XLA
sees no reason to keep that order, and jax 0.10 on the CPU ignores `optimization_barrier`, so the
order is written as data: something that is never true, but that the compiler cannot know.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

_NEVER = 0x7FC0BEEF  # the bits of a NaN that no arithmetic produces


def never(tree: Any) -> Array:
  """A bool[] that is always False and exists only once `tree` does: once its first array of numbers
  does.
  """
  on = next(x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.number))
  if jnp.issubdtype(on.dtype, jnp.floating):
    return jnp.any(jax.lax.bitcast_convert_type(on.astype(jnp.float32), jnp.uint32) == _NEVER)
  return jnp.any(on.astype(jnp.int32) == -_NEVER)


def after(token: Array, on: Array) -> Array:
  """`token`, unchanged, but not before `on` is computed."""
  return token + never(on).astype(token.dtype)
