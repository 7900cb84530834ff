"""The uniformly random policy: the baseline for scores, and a cheap search for benchmarks."""

import dataclasses

import jax
import jax.numpy as jnp

from muzero_jax.types import Decision, Key, Params, Root


@dataclasses.dataclass(frozen=True)
class Random:
  """Ignores the root, so that the compiler removes the computation of the network."""

  @property
  def simulations(self) -> int:
    return 0

  def for_evaluation(self) -> "Random":
    return self

  def for_reanalysis(self) -> "Random":
    return self

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """See `base.Search`."""
    del params
    size, num_actions = root.policy_logits.shape
    action = jax.random.randint(key, (size,), 0, num_actions, jnp.int32)
    policy = jnp.full((size, num_actions), 1 / num_actions)
    zeros = jnp.zeros(size)
    return Decision(action, policy, zeros, jnp.log(policy[:, 0]), zeros, zeros)
