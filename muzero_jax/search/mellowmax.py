"""Mellowmax's policy: of those whose expectation of Q is mm_omega(Q), the one of maximum entropy
(Asadi and Littman 2017, section 5).
"""

import jax
import jax.numpy as jnp

from muzero_jax.search.bisection import bisect
from muzero_jax.targets.q import mellowmax
from muzero_jax.types import Array

HALVINGS = 24  # of the interval that holds beta: as fine as float32


def inverse_temperature(q: Array, omega: float) -> Array:
  """The inverse temperature beta at which softmax(beta q) has the expectation mm_omega(q).

  Beta, f32[...] for q f32[..., A], is the root of f(beta) = sum_a exp(beta (q_a - mm)) (q_a - mm),
  found by bisection. f increases with beta; f(0) <= 0 because mm is at least the mean of q. And
  f(omega) >= 0, because under softmax(omega q), of entropy H, the expectation of q is
  mm + (ln A - H) / omega. So the root lies in 0 .. omega, where no exponent is larger than ln A.
  """
  excess = q - mellowmax(q, omega)[..., None]

  def above(beta: Array) -> Array:
    return ~(jnp.sum(jnp.exp(beta[..., None] * excess) * excess, -1) > 0)

  low, high = jnp.zeros(q.shape[:-1]), jnp.full(q.shape[:-1], omega, q.dtype)
  return bisect(above, low, high, HALVINGS)


def policy(q: Array, omega: float) -> Array:
  """The policy, f32[..., A]; uniform where all Q are equal."""
  return jax.nn.softmax(inverse_temperature(q, omega)[..., None] * q)
