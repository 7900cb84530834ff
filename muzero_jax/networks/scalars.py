"""Scalars as categorical distributions (MuZero, Schrittwieser et al. 2020, appendix F).

A scalar x is transformed by h(x) = sign(x)(sqrt(|x| + 1) - 1) + eps x (Pohlen et al. 2018), and
represented by probabilities of the two values of a `Support` that are nearest to h(x). All
computations are in float32.
"""

import dataclasses

import jax
import jax.numpy as jnp

from muzero_jax.types import Array

EPSILON = 0.001


def transform(x: Array) -> Array:
  """h(x), elementwise."""
  return jnp.sign(x) * (jnp.sqrt(jnp.abs(x) + 1) - 1) + EPSILON * x


def inverse(y: Array) -> Array:
  """The inverse of h, elementwise. The formula avoids cancellation, which is severe in float32."""
  a = jnp.abs(y)
  # u = sqrt(|x| + 1) solves eps u^2 + u = a + 1 + eps; with u = 1 + w, w is the positive root of
  # eps w^2 + (1 + 2 eps) w = a.
  b = 1 + 2 * EPSILON
  w = 2 * a / (b + jnp.sqrt(b * b + 4 * EPSILON * a))
  return jnp.sign(y) * w * (w + 2)


@dataclasses.dataclass(frozen=True)
class Support:
  """Evenly spaced values from -size to size in transformed space."""

  size: int = 300
  count: int = 0  # number of values, odd; 0: one per integer

  @property
  def bins(self) -> int:
    """The number of values."""
    return self.count or 2 * self.size + 1

  @property
  def spacing(self) -> float:
    """The distance between neighboring values, in transformed space."""
    return 2 * self.size / (self.bins - 1)

  def encode(self, x: Array) -> Array:
    """Scalars f32[...] -> probabilities f32[..., bins], which are 0 except on the two bins nearest
    to h(x). Scalars beyond the support are clipped to its ends.
    """
    y = (
      jnp.clip(transform(x.astype(jnp.float32)), -self.size, self.size) + self.size
    ) / self.spacing
    low = jnp.minimum(jnp.floor(y), self.bins - 2)
    share = y - low
    index = low.astype(jnp.int32)
    return (
      jax.nn.one_hot(index, self.bins) * (1 - share)[..., None]
      + jax.nn.one_hot(index + 1, self.bins) * share[..., None]
    )

  def decode(self, logits: Array) -> Array:
    """Logits [..., bins] -> scalars f32[...]: the expectation in transformed space, transformed
    back.
    """
    values = self.spacing * jnp.arange(-(self.bins // 2), self.bins // 2 + 1, dtype=jnp.float32)
    probabilities = jax.nn.softmax(logits.astype(jnp.float32))
    # By default accelerators round the operands of a matrix product. Here that would cost three
    # digits of precision.
    return inverse(jnp.matmul(probabilities, values, precision="highest"))
