"""A network for images on CPUs: the hidden state is a vector, and the dynamics are fully connected.

The encoder applies dense layers to patches of the image, and to patches of their outputs, without
overlap: these are a few matrix products, and so are their gradients. A step of the model is cheap
compared with a convolutional one. Muesli (Hessel et al. 2021) and Dreamer (Hafner et al. 2020) also
have vectors as hidden states.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from muzero_jax.networks import mlp
from muzero_jax.networks.model import Modules, scale_hidden, stacked_input
from muzero_jax.types import Array


@dataclasses.dataclass(frozen=True)
class Size:
  """Sizes of the patches and widths of the layers."""

  patches: tuple[tuple[int, int], ...]  # per layer: side of a patch, features
  width: int  # of the hidden state
  head_width: int  # of the hidden layers of the heads


SIZES = {
  # 48x48 -> 12 -> 6, 96x96 -> 24 -> 12
  "nano": Size(patches=((4, 32), (2, 32)), width=256, head_width=64),
  "tiny": Size(patches=((4, 32), (2, 64)), width=256, head_width=128),
}


class Representation(nn.Module):
  """The encoder: frames u8[N, S, H, W(, colors)] -> hidden state [N, width] in 0..1."""

  size: Size
  dtype: Any

  @nn.compact
  def __call__(self, frames: Array) -> Array:
    x = stacked_input(frames, self.dtype)
    for side, features in self.size.patches:
      x = nn.Dense(features, use_bias=False, dtype=self.dtype)(space_to_depth(x, side))
      # Statistics are per channel: in those over all channels, an object of a few pixels is lost
      # against the static background.
      x = nn.relu(nn.LayerNorm(reduction_axes=(-3, -2), feature_axes=-1, dtype=self.dtype)(x))
    x = nn.Dense(self.size.width, dtype=self.dtype)(x.reshape(x.shape[0], -1))
    return scale_hidden(nn.LayerNorm(dtype=self.dtype)(x))


def space_to_depth(x: Array, side: int) -> Array:
  """Moves patches into channels, after padding the image with zeros below and on the right.

  [N, H, W, C] -> [N, ceil(H / side), ceil(W / side), side * side * C].
  """
  x = jnp.pad(x, ((0, 0), (0, -x.shape[1] % side), (0, -x.shape[2] % side), (0, 0)))
  n, height, width, channels = x.shape
  x = x.reshape(n, height // side, side, width // side, side, channels)
  return jnp.swapaxes(x, 2, 3).reshape(n, height // side, width // side, side * side * channels)


def vector(size: str, num_actions: int, bins: int, dtype: Any, platform: str) -> Modules:
  """The network with a vector as hidden state; a `Network` whose `size` is a key of `SIZES`."""
  del platform
  shape = SIZES[size]
  encoder = Representation(shape, dtype)
  return mlp.on_vectors(encoder, shape.width, shape.head_width, num_actions, bins, dtype)
