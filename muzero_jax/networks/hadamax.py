"""The Hadamax encoder (Kooi, Yang and François-Lavet 2025, "Hadamax Encoding: Elevating Performance
in Model-Free Atari"): max-pooling of products of two parallel layers. The hidden state is a vector,
as in `vector`, and so are dynamics and heads.

A product of two activations is large only where both see something, and it can have more values
than one activation of the same width. Pooling in place of strides lets every pixel count.
"""

import dataclasses
from typing import Any

import flax.linen as nn

from muzero_jax.networks import mlp
from muzero_jax.networks.model import Modules, scale_hidden, stacked_input
from muzero_jax.networks.resnet import Layers, convolution
from muzero_jax.types import Array


@dataclasses.dataclass(frozen=True)
class Size:
  """Sizes of the blocks and widths of the layers."""

  blocks: tuple[tuple[int, int, int, int], ...]  # each: channels, kernel, window and stride of pool
  width: int  # of the hidden state
  head_width: int  # of the hidden layers of the heads


SIZES = {
  # For boards of about 10x10 (MinAtar): 10x10 -> 5x5.
  "grid": Size(blocks=((16, 3, 2, 2),), width=64, head_width=64),
  # For CPUs, with smaller kernels. 48x48 -> 12 -> 6.
  "nano": Size(blocks=((16, 4, 4, 4), (32, 3, 2, 2)), width=256, head_width=64),
  # Half as wide as published. 84x84 -> 21 -> 11 -> 11.
  "tiny": Size(blocks=((16, 8, 4, 4), (32, 4, 2, 2), (32, 3, 3, 1)), width=256, head_width=128),
  # As published.
  "small": Size(blocks=((32, 8, 4, 4), (64, 4, 2, 2), (64, 3, 3, 1)), width=512, head_width=128),
}


class Block(nn.Module):
  """max-pool(GELU(norm(conv(x))) * GELU(norm(conv'(x)))): [N, H, W, C] -> [N, H', W', channels]."""

  channels: int
  kernel: int
  window: int
  stride: int  # of the pooling; that of the convolutions is 1
  layers: Layers

  @nn.compact
  def __call__(self, x: Array) -> Array:
    def branch() -> Array:
      init = nn.initializers.xavier_normal()
      y = convolution(self.channels, self.layers, self.kernel, init=init)(x)
      return nn.gelu(nn.LayerNorm(dtype=self.layers.dtype)(y))

    window, stride = ((side, side) for side in (self.window, self.stride))
    return nn.max_pool(branch() * branch(), window, stride, "SAME")


class Representation(nn.Module):
  """The encoder: frames u8[N, S, H, W(, colors)] -> hidden state [N, width] in 0..1."""

  size: Size
  layers: Layers

  @nn.compact
  def __call__(self, frames: Array) -> Array:
    dtype = self.layers.dtype
    x = stacked_input(frames, dtype)
    for channels, kernel, window, stride in self.size.blocks:
      x = Block(channels, kernel, window, stride, self.layers)(x)
    x = nn.Dense(self.size.width, dtype=dtype)(x.reshape(x.shape[0], -1))
    return scale_hidden(nn.gelu(nn.LayerNorm(dtype=dtype)(x)))


def hadamax(size: str, num_actions: int, bins: int, dtype: Any, platform: str) -> Modules:
  """The network with a Hadamax encoder; a `Network` whose `size` is a key of `SIZES`."""
  shape = SIZES[size]
  encoder = Representation(shape, Layers(dtype, platform))
  return mlp.on_vectors(encoder, shape.width, shape.head_width, num_actions, bins, dtype)
