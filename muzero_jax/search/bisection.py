"""Bisection: roots of many functions at once, with a fixed number of steps."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from muzero_jax.types import Array


def bisect(above: Callable[[Array], Array], low: Array, high: Array, halvings: int) -> Array:
  """The roots of functions f that change their sign once, f32[...].

  Args:
    above: for points f32[...], whether the root of each function lies above its point.
    low: f32[...], lower bounds on the roots.
    high: f32[...], upper bounds.
    halvings: of each interval; the result is the middle of the last one.
  """

  def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
    low, high = bounds
    middle = (low + high) / 2
    up = above(middle)
    return jnp.where(up, middle, low), jnp.where(up, high, middle)

  low, high = jax.lax.fori_loop(0, halvings, halve, (low, high))
  return (low + high) / 2
