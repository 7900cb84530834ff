"""Uniformly random play: the baseline that every score is compared with, and a cheap partner for
benchmarks.
"""

import dataclasses

import jax
import jax.numpy as jnp

from muzero_jax.types import Decision, Key, Params, Root


@dataclasses.dataclass(frozen=True)
class Random:
  """Every action alike, whatever the root says: a compiler that sees it drops the network."""

  @property
  def simulations(self) -> int:
    """There is no tree."""
    return 0

  def for_evaluation(self) -> "Random":
    """The same."""
    return self

  def for_reanalysis(self) -> "Random":
    """The same."""
    return self

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """See `base.Search`."""
    del params
    size, num_actions = root.policy_logits.shape
    action = jax.random.randint(key, (size,), 0, num_actions, jnp.int32)
    policy = jnp.full((size, num_actions), 1 / num_actions)
    zeros = jnp.zeros(size)
    return Decision(action, policy, zeros, jnp.log(policy[:, 0]), zeros, zeros)
