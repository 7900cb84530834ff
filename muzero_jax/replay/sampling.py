"""How likely each example is drawn: all alike, or by priority (Schaul et al. 2016).

Both draw from the ring's `mass` with a two-level cumulative sum, over rows and then within a row, so that every example has exactly
its share however long its episode was.
"""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

from muzero_jax.replay.frames import Chances, Replay, Ring
from muzero_jax.types import Array, Key, Sample


class Sampler(Protocol):
  """Draws a batch, and hears what the learner found out about it."""

  def sample(self, ring: Ring, replay: Replay, key: Key, size: int, step: Array) -> Sample:
    """A batch of `size` examples, drawn with replacement."""
    ...

  def update(self, chances: Chances, sample: Sample, error: Array) -> Chances:
    """Takes note of |TD error| f32[N] of a batch that was drawn since the last `add`."""
    ...


@dataclasses.dataclass(frozen=True)
class Uniform:
  """Every example has the same chance and the same weight."""

  def sample(self, ring: Ring, replay: Replay, key: Key, size: int, step: Array) -> Sample:
    """See `Sampler`."""
    index = draw(replay.chances, key, size)
    example = jax.vmap(lambda i: ring.example(replay, i, step))(index)
    return Sample(example, index, weight=jnp.ones(size, jnp.float32))

  def update(self, chances: Chances, sample: Sample, error: Array) -> Chances:
    """See `Sampler`; nothing changes."""
    del sample, error
    return chances


@dataclasses.dataclass(frozen=True)
class Prioritized:
  """An example's chance is proportional to (|TD error| + floor)^exponent; new ones enter with the highest so far."""

  exponent: float = 0.6  # alpha
  correction: float = 0.4  # beta of the importance weights
  floor: float = 1e-3

  def sample(self, ring: Ring, replay: Replay, key: Key, size: int, step: Array) -> Sample:
    """See `Sampler`. Weights are (1 / chance)^beta, divided by the batch's largest."""
    sample = Uniform().sample(ring, replay, key, size, step)
    mass = replay.chances.mass.reshape(-1)[sample.index]
    weight = (jnp.min(mass) / mass) ** self.correction
    return dataclasses.replace(sample, weight=weight)

  def update(self, chances: Chances, sample: Sample, error: Array) -> Chances:
    """See `Sampler`."""
    found = (jnp.abs(error) + self.floor) ** self.exponent
    num_envs = chances.mass.shape[1]
    rows, envs = sample.index // num_envs, sample.index % num_envs
    mass = chances.mass.at[rows, envs].set(found)
    row_mass = chances.row_mass.at[rows].set(mass[rows].sum(-1))
    return Chances(mass, row_mass, jnp.maximum(chances.top, found.max()))


def draw(chances: Chances, key: Key, size: int) -> Array:
  """i32[size]: indices (row * B + environment), each with a chance proportional to its mass."""
  row_key, env_key = jax.random.split(key)
  rows = inverse_cdf(chances.row_mass, jax.random.uniform(row_key, (size,)))
  envs = jax.vmap(inverse_cdf)(chances.mass[rows], jax.random.uniform(env_key, (size,)))
  return rows * chances.mass.shape[1] + envs


def inverse_cdf(mass: Array, uniform: Array) -> Array:
  """Where in the cumulative sum of masses f32[M] the shares `uniform` (in 0..1) fall; never on an entry without mass."""
  # XLA sums in parallel: the sum of an entry without mass may differ from its neighbour's in the last bit. It must not.
  cumulative = jax.lax.cummax(jnp.where(mass > 0, jnp.cumsum(mass), 0.0))
  total = cumulative[-1]
  target = jnp.minimum(uniform * total, jnp.nextafter(total, jnp.zeros_like(total)))
  return jnp.searchsorted(cumulative, target, side="right").astype(jnp.int32)
