"""Pictures into a vector, then fully connected dynamics: the network that fits a CPU.

The encoder cuts the picture into patches and those into larger ones, without overlap: a few matrix
products, whose gradients are matrix products, too. A step of the model is cheap beside a
convolutional one. Muesli (Hessel et al. 2021) and Dreamer (Hafner et al. 2020) have vector latents,
too.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from muzero_jax.networks import mlp
from muzero_jax.networks.model import make_model, scale_hidden, stacked_input
from muzero_jax.networks.scalars import Support
from muzero_jax.types import Array, Model


@dataclasses.dataclass(frozen=True)
class Size:
  """Patches of patches, and widths."""

  patches: tuple[tuple[int, int], ...]  # side of a patch, features of it
  width: int  # of the latent
  hidden: int  # of the heads


SIZES = {
  # 48x48 -> 12 -> 6, 96x96 -> 24 -> 12
  "nano": Size(patches=((4, 32), (2, 32)), width=256, hidden=64),
  "tiny": Size(patches=((4, 32), (2, 64)), width=256, hidden=128),
}


class Representation(nn.Module):
  """Frames u8[N, S, H, W(, colors)] -> latent [N, width] in 0..1."""

  size: Size
  dtype: Any

  @nn.compact
  def __call__(self, frames: Array) -> Array:
    x = stacked_input(frames, self.dtype)
    for side, features in self.size.patches:
      x = nn.Dense(features, use_bias=False, dtype=self.dtype)(space_to_depth(x, side))
      # Per channel: over the whole map a ball of a few pixels drowns in the static background.
      x = nn.relu(nn.LayerNorm(reduction_axes=(-3, -2), feature_axes=-1, dtype=self.dtype)(x))
    x = nn.Dense(self.size.width, dtype=self.dtype)(x.reshape(x.shape[0], -1))
    return scale_hidden(nn.LayerNorm(dtype=self.dtype)(x))


def space_to_depth(x: Array, side: int) -> Array:
  """[N, H, W, C] -> [N, ceil(H / side), ceil(W / side), side * side * C]; padded with zeros below
  and on the right.
  """
  x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % side), (0, -x.shape[2] % side), (0, 0)))
  n, height, width, channels = x.shape
  x = x.reshape(n, height // side, side, width // side, side, channels)
  return jnp.swapaxes(x, 2, 3).reshape(n, height // side, width // side, side * side * channels)


def vector(
  size: str,
  num_actions: int,
  support: Support,
  frames: jax.ShapeDtypeStruct,
  dtype: Any = jnp.float32,
) -> Model:
  """The model of a named size for stacks of `frames` ([S, H, W] or [S, H, W, colors]); `dtype` is
  that of the trunk.
  """
  shape = SIZES[size]
  return make_model(
    Representation(shape, dtype),
    mlp.Dynamics(shape.width, num_actions, support.bins, dtype, shape.hidden),
    mlp.Prediction(shape.hidden, num_actions, support.bins),
    support,
    frames,
  )
