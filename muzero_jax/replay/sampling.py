"""Samplers: how examples are drawn from the replay, uniformly or by priority (Schaul et al. 2016).

Both draw with probabilities proportional to the replay's priorities, by inverting a cumulative sum:
first over rows, then within the row. The length of episodes does not matter.
"""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

from muzero_jax.replay.frames import Priorities, Replay, Ring
from muzero_jax.types import Array, Key, Sample


class Sampler(Protocol):
  """Draws batches, and updates priorities by the errors on them."""

  def sample(self, ring: Ring, replay: Replay, key: Key, size: int, step: Array) -> Sample:
    """Draws a batch with replacement.

    Args:
      ring: reads examples from the replay.
      replay: what to draw from.
      key: of the draw.
      size: N.
      step: i32[], gradient steps done.
    """
    ...

  def update(self, priorities: Priorities, sample: Sample, error: Array) -> Priorities:
    """Returns new priorities, given the |TD error| f32[N] of a batch drawn in this tick."""
    ...


@dataclasses.dataclass(frozen=True)
class Uniform:
  """All examples have the same probability, and importance weight 1."""

  def sample(self, ring: Ring, replay: Replay, key: Key, size: int, step: Array) -> Sample:
    """See `Sampler`."""
    index = draw(replay.priorities, key, size)
    example = jax.vmap(lambda i: ring.example(replay, i, step))(index)
    return Sample(example, index, weight=jnp.ones(size, jnp.float32))

  def update(self, priorities: Priorities, sample: Sample, error: Array) -> Priorities:
    """See `Sampler`. Returns the priorities unchanged."""
    del sample, error
    return priorities


@dataclasses.dataclass(frozen=True)
class Prioritized:
  """An example's priority is (|TD error| + floor)^exponent; new ones get the highest so far."""

  exponent: float = 0.6  # alpha
  correction: float = 0.4  # beta of the importance weights, at first if it is annealed
  floor: float = 1e-3  # added to errors, so that no priority is 0
  anneal_steps: int = 0  # gradient steps in which beta rises to 1; 0: it is constant

  def sample(self, ring: Ring, replay: Replay, key: Key, size: int, step: Array) -> Sample:
    """See `Sampler`. Importance weights are probability^-beta over the batch's largest one."""
    sample = Uniform().sample(ring, replay, key, size, step)
    priority = replay.priorities.priority.reshape(-1)[sample.index]
    weight = (jnp.min(priority) / priority) ** self.beta(step)
    return dataclasses.replace(sample, weight=weight)

  def beta(self, step: Array) -> Array | float:
    """The exponent of the importance weights after `step` gradient steps, i32[].

    If annealed, it rises linearly to 1, where it stays (Schaul et al. 2016, section 3.4).
    """
    if not self.anneal_steps:
      return self.correction
    share = jnp.minimum(step / self.anneal_steps, 1.0)
    return self.correction + (1 - self.correction) * share

  def update(self, priorities: Priorities, sample: Sample, error: Array) -> Priorities:
    """See `Sampler`."""
    found = (jnp.abs(error) + self.floor) ** self.exponent
    num_envs = priorities.priority.shape[1]
    rows, envs = sample.index // num_envs, sample.index % num_envs
    priority = priorities.priority.at[rows, envs].set(found)
    row_priority = priorities.row_priority.at[rows].set(priority[rows].sum(-1))
    return Priorities(priority, row_priority, jnp.maximum(priorities.max_priority, found.max()))


def draw(priorities: Priorities, key: Key, size: int) -> Array:
  """Draws indices (row * B + environment) in proportion to priorities, i32[size]."""
  row_key, env_key = jax.random.split(key)
  rows = inverse_cdf(priorities.row_priority, jax.random.uniform(row_key, (size,)))
  envs = jax.vmap(inverse_cdf)(priorities.priority[rows], jax.random.uniform(env_key, (size,)))
  return rows * priorities.priority.shape[1] + envs


def inverse_cdf(priority: Array, uniform: Array) -> Array:
  """Inverts the cumulative distribution of priorities f32[M].

  Args:
    priority: f32[M], at least 0, not all 0.
    uniform: f32[...] in 0..1.

  Returns:
    i32[...], the indices where `uniform` falls; never one of an entry with priority 0.
  """
  # XLA sums in parallel, so the cumulative sum at an entry with priority 0 may differ from its
  # neighbor's in the last bit. `cummax` makes them equal, so that the entry is never drawn.
  cumulative = jax.lax.cummax(jnp.where(priority > 0, jnp.cumsum(priority), 0.0))
  total = cumulative[-1]
  target = jnp.minimum(uniform * total, jnp.nextafter(total, jnp.zeros_like(total)))
  return jnp.searchsorted(cumulative, target, side="right").astype(jnp.int32)
