"""The fully connected network, for games whose observation is a short vector or a small board."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from muzero_jax.networks.model import Logits, make_model, scale_hidden, stacked_input
from muzero_jax.networks.scalars import Support
from muzero_jax.types import Array, Model

WIDTHS = {"grid": 64, "tiny": 64, "small": 256, "efficientzero": 512, "muzero": 1024}


class Representation(nn.Module):
  """Stack -> latent [N, width] in 0..1."""

  width: int
  dtype: Any

  @nn.compact
  def __call__(self, frames: Array) -> Array:
    x = stacked_input(frames, self.dtype)
    x = x.reshape(x.shape[0], -1)
    x = nn.relu(nn.LayerNorm(dtype=self.dtype)(nn.Dense(self.width, dtype=self.dtype)(x)))
    return scale_hidden(nn.LayerNorm(dtype=self.dtype)(nn.Dense(self.width, dtype=self.dtype)(x)))


class Dynamics(nn.Module):
  """Latent and action -> the next latent and the reward's logits."""

  width: int
  num_actions: int
  bins: int
  dtype: Any
  head: int = 0  # width of the reward's head; 0: as the latent

  @nn.compact
  def __call__(self, hidden: Array, action: Array) -> tuple[Array, Array]:
    x = nn.Dense(self.width, dtype=self.dtype)(hidden) + nn.Embed(
      self.num_actions, self.width, dtype=self.dtype
    )(action)
    x = nn.relu(nn.LayerNorm(dtype=self.dtype)(x))
    x = nn.LayerNorm(dtype=self.dtype, scale_init=nn.initializers.zeros)(
      nn.Dense(self.width, dtype=self.dtype)(x)
    )
    x = scale_hidden(hidden + x)  # it starts as its shortcut: the state stays
    return x, Logits(self.head or self.width, self.bins)(x)


class Prediction(nn.Module):
  """Latent -> policy logits f32[N, A], value logits f32[N, bins]."""

  width: int
  num_actions: int
  bins: int

  @nn.compact
  def __call__(self, hidden: Array) -> tuple[Array, Array]:
    return Logits(self.width, self.num_actions)(hidden), Logits(self.width, self.bins)(hidden)


def mlp(
  size: str,
  num_actions: int,
  support: Support,
  frames: jax.ShapeDtypeStruct,
  dtype: Any = jnp.float32,
) -> Model:
  """The model of a named size for stacks of `frames` ([S, ...]); `dtype` is that of the trunk."""
  width = WIDTHS[size]
  return make_model(
    Representation(width, dtype),
    Dynamics(width, num_actions, support.bins, dtype),
    Prediction(width, num_actions, support.bins),
    support,
    frames,
  )
