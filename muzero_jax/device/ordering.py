"""Artificial data dependencies that make XLA run operations in a given order.

EnvPool's `send` returns at once and its `recv` blocks, so the learner must run between the two. XLA
does not keep that order by itself, and jax 0.10 on the CPU ignores `optimization_barrier`. So the
later operation gets an input that depends on the earlier one: a condition that is never true, which
the compiler cannot know.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

_NEVER = 0x7FC0BEEF  # the bits of a NaN that no arithmetic produces


def never(tree: Any) -> Array:
  """A bool[] that is always False, but is computed from the first numeric array in `tree`."""
  on = next(x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.number))
  if jnp.issubdtype(on.dtype, jnp.floating):
    return jnp.any(jax.lax.bitcast_convert_type(on.astype(jnp.float32), jnp.uint32) == _NEVER)
  return jnp.any(on.astype(jnp.int32) == -_NEVER)


def after(token: Array, on: Array) -> Array:
  """Returns the value of `token`, but makes it depend on `on` being computed first."""
  return token + never(on).astype(token.dtype)
