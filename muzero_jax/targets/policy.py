"""Policy targets: those recorded when the steps were played, or searched again with newer
parameters.
"""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

from muzero_jax.networks.model import initial_inference
from muzero_jax.replay.frames import stacks
from muzero_jax.types import Array, Example, Key, Model, Params, SearchFn


class PolicyTarget(Protocol):
  """Policies for the steps of examples."""

  def __call__(self, target_params: Params, key: Key, example: Example) -> Array:
    """Examples [N, ...] -> f32[N, k+1, A]."""
    ...


def recorded(target_params: Params, key: Key, example: Example) -> Array:
  """What the search found when the steps were played."""
  del target_params, key
  return example.policy


@dataclasses.dataclass(frozen=True)
class Reanalyzed:
  """A fraction of the batch is searched again with the target network (MuZero Reanalyze,
  Schrittwieser et al. 2021).

  The batch is in random order, so its first examples are a random part of it. The search sees the
  frames as they are.
  """

  model: Model
  search: SearchFn
  stack: int
  unroll: int
  fraction: float = 1.0

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
