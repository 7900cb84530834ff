"""How likely each example is drawn: all alike, or by priority (Schaul et al. 2016).

Both draw from the ring's `priority` with a two-level cumulative sum, over rows and then within a
row, so that every example has exactly its share however long its episode was.
"""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

from muzero_jax.replay.frames import Priorities, Replay, Ring
from muzero_jax.types import Array, Key, Sample


class Sampler(Protocol):
  """Draws a batch, and hears what the learner found out about it."""

  def sample(self, ring: Ring, replay: Replay, key: Key, size: int, step: Array) -> Sample:
    """A batch of `size` examples, drawn with replacement."""
    ...

  def update(self, priorities: Priorities, sample: Sample, error: Array) -> Priorities:
    """Takes note of |TD error| f32[N] of a batch that was drawn since the last `add`."""
    ...


@dataclasses.dataclass(frozen=True)
class Uniform:
  """Every example has the same chance and the same weight."""

  def sample(self, ring: Ring, replay: Replay, key: Key, size: int, step: Array) -> Sample:
    """See `Sampler`."""
    index = draw(replay.priorities, key, size)
    example = jax.vmap(lambda i: ring.example(replay, i, step))(index)
    return Sample(example, index, weight=jnp.ones(size, jnp.float32))

  def update(self, priorities: Priorities, sample: Sample, error: Array) -> Priorities:
    """See `Sampler`; nothing changes."""
    del sample, error
    return priorities


@dataclasses.dataclass(frozen=True)
class Prioritized:
  """An example's chance is proportional to (|TD error| + floor)^exponent; new ones enter with the
  highest so far.
  """

  exponent: float = 0.6  # alpha
  correction: float = 0.4  # beta of the importance weights
  floor: float = 1e-3

  def sample(self, ring: Ring, replay: Replay, key: Key, size: int, step: Array) -> Sample:
    """See `Sampler`. Weights are (1 / chance)^beta, divided by the batch's largest."""
    sample = Uniform().sample(ring, replay, key, size, step)
    priority = replay.priorities.priority.reshape(-1)[sample.index]
    weight = (jnp.min(priority) / priority) ** self.correction
    return dataclasses.replace(sample, weight=weight)

  def update(self, priorities: Priorities, sample: Sample, error: Array) -> Priorities:
    """See `Sampler`."""
    found = (jnp.abs(error) + self.floor) ** self.exponent
    num_envs = priorities.priority.shape[1]
    rows, envs = sample.index // num_envs, sample.index % num_envs
    priority = priorities.priority.at[rows, envs].set(found)
    row_priority = priorities.row_priority.at[rows].set(priority[rows].sum(-1))
    return Priorities(priority, row_priority, jnp.maximum(priorities.max_priority, found.max()))


def draw(priorities: Priorities, key: Key, size: int) -> Array:
  """i32[size]: indices (row * B + environment), each with a chance proportional to its priority."""
  row_key, env_key = jax.random.split(key)
  rows = inverse_cdf(priorities.row_priority, jax.random.uniform(row_key, (size,)))
  envs = jax.vmap(inverse_cdf)(priorities.priority[rows], jax.random.uniform(env_key, (size,)))
  return rows * priorities.priority.shape[1] + envs


def inverse_cdf(priority: Array, uniform: Array) -> Array:
  """Where in the cumulative sum of priorities f32[M] the shares `uniform` (in 0..1) fall; never on
  an entry without priority.
  """
  # XLA sums in parallel: the sum of an entry without priority may differ from its neighbor's in the
  # last bit. It must not.
  cumulative = jax.lax.cummax(jnp.where(priority > 0, jnp.cumsum(priority), 0.0))
  total = cumulative[-1]
  target = jnp.minimum(uniform * total, jnp.nextafter(total, jnp.zeros_like(total)))
  return jnp.searchsorted(cumulative, target, side="right").astype(jnp.int32)
