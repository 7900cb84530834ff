"""Policy targets: recorded by the search when it acted, or from a new search (Reanalyze)."""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

from muzero_jax.networks.model import initial_inference
from muzero_jax.replay.stacks import stacks
from muzero_jax.types import Array, Example, Key, Model, Params, SearchFn


class PolicyTarget(Protocol):
  """Computes the policy targets of an example's unroll."""

  def __call__(self, target_params: Params, key: Key, example: Example) -> Array:
    """Policies of the k+1 steps of the unroll of examples [N, ...], f32[N, k+1, A]."""
    ...


def recorded(target_params: Params, key: Key, example: Example) -> Array:
  """A `PolicyTarget`: the improved policies that the search recorded when it acted."""
  del target_params, key
  return example.policy


@dataclasses.dataclass(frozen=True)
class Reanalyzed:
  """Searches a fraction of the batch again, with the target network (MuZero Reanalyze,
  Schrittwieser et al. 2021). The other examples keep their recorded policies.

  The first examples of the batch are taken: batches are drawn in random order.
  """

  model: Model
  search: SearchFn
  stack: int
  unroll: int
  fraction: float = 1.0  # of the batch

  def __call__(self, target_params: Params, key: Key, example: Example) -> Array:
    """See `PolicyTarget`."""
    count = round(self.fraction * example.policy.shape[0])
    if count == 0:
      return example.policy
    few = jax.tree.map(lambda x: x[:count], example)
    roots = initial_inference(
      self.model, target_params, stacks(few, jnp.arange(self.unroll + 1), self.stack)
    )
    policy = self.search(target_params, key, roots).policy.reshape(count, *example.policy.shape[1:])
    return jnp.concatenate([policy, example.policy[count:]])
