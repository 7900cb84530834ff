"""Intrinsic rewards for novel frames (random network distillation, Burda et al. 2018, section 2.2).

They are computed when an example is sampled, by the predictor of the online
network: what was novel when it was played, and is known now, has no bonus any more.
"""

import dataclasses
import functools

import jax.numpy as jnp

from muzero_jax.networks.novelty import novelty
from muzero_jax.targets.returns import clipped
from muzero_jax.types import Array, Example, Model, Params


@dataclasses.dataclass(frozen=True)
class IntrinsicRewards:
  """The rewards of examples plus `weight` times their intrinsic ones. Examples must hold all later
  frames (E = L - 1).

  An intrinsic reward is the novelty of the frame that a transition leads to, over the root mean
  square, over the batch, of the sums of novelties over an example (discounted).
  """

  model: Model
  stack: int
  weight: float
  discount: float  # per agent step
  clip_rewards: bool  # those of the environment, to their signs

  def __call__(self, target_params: Params, example: Example) -> Array:
    """The rewards of examples [N, ...], f32[N, L-1]."""
    size, length = example.reward.shape
    frames = example.frames[:, self.stack : self.stack + length]
    error = functools.partial(novelty, self.model, target_params["online"])
    found = self.model.mapped(error, frames.reshape(-1, *frames.shape[2:])).reshape(size, length)
    sums = found @ self.discount ** jnp.arange(length, dtype=jnp.float32)
    bonus = found / jnp.maximum(jnp.sqrt(jnp.mean(jnp.square(sums))), 1e-8)
    reward = clipped(example.reward, self.clip_rewards)
    return reward + self.weight * bonus
