"""The residual network for images: pre-activation blocks without normalization. The hidden state
has about a 16th of the frame's height and width (the size `grid` does not down-sample).

It follows EfficientZero (Ye et al. 2021) and MuZero (Schrittwieser et al. 2020), but without batch
norm, so that it computes the same function in acting and in learning. Layer norm does not replace
it: with shifted frames (`augmentation`) a network with layer norm did not learn to see Breakout's
ball, and one without did. Instead every residual branch is initialized to zero (Zhang et al. 2019,
"Fixup"), and hidden states are scaled to 0..1 at every step.
"""

import dataclasses
from typing import Any

import flax.linen as nn

from muzero_jax.networks.cpu import conv
from muzero_jax.networks.model import Logits, Modules, scale_hidden, stacked_input
from muzero_jax.types import Array


@dataclasses.dataclass(frozen=True)
class Size:
  """Widths and depths of a network.

  The encoder is a first convolution, followed by stages. Each stage halves height and width, and
  then applies residual blocks.
  """

  first: tuple[int, int, int]  # channels, kernel, stride of the first convolution
  # Per stage: channels, blocks, whether it halves by average pooling instead of a strided block.
  stages: tuple[tuple[int, int, bool], ...]
  channels: int  # of the hidden state
  blocks: int  # of the dynamics, and of the prediction
  head_channels: int = 16  # of the 1x1 convolution of a head
  head_hidden: int = 32  # width of a head's fully connected layer
  encoder_blocks: int = 0  # between the first convolution and the stages


SIZES = {
  # No down-sampling: for boards of about 10x10 (MinAtar).
  "grid": Size(first=(16, 3, 1), stages=(), channels=16, blocks=1),
  # For CPUs. The patches of the first convolution do not overlap, so that it is a matrix product.
  # 84x84 -> 21 -> 11 -> 6.
  "tiny": Size(first=(32, 4, 4), stages=((32, 0, False), (32, 1, False)), channels=32, blocks=1),
  "small": Size(first=(32, 4, 4), stages=((64, 1, False), (64, 1, False)), channels=64, blocks=1),
  # 84x84 -> 42 -> 21 -> 11 -> 6.
  "efficientzero": Size(
    first=(32, 3, 2),
    stages=((64, 1, False), (64, 1, True), (64, 1, True)),
    channels=64,
    blocks=1,
    encoder_blocks=1,
  ),
  "muzero": Size(
    first=(128, 3, 2),
    stages=((256, 3, False), (256, 3, True), (256, 0, True)),
    channels=256,
    blocks=16,
    head_channels=32,
    head_hidden=256,
    encoder_blocks=2,
  ),
}


@dataclasses.dataclass(frozen=True)
class Layers:
  """How layers are computed, whatever their sizes."""

  dtype: Any  # of the trunk; heads are float32
  platform: str = "cpu"  # of the devices: "cpu", "gpu" or "tpu"


def convolution(
  channels: int,
  layers: "Layers",
  kernel: int = 3,
  stride: int = 1,
  init: Any = nn.linear.default_kernel_init,
) -> nn.Conv:
  """A flax convolution with square kernel."""
  return nn.Conv(
    channels,
    (kernel, kernel),
    stride,
    dtype=layers.dtype,
    kernel_init=init,
    conv_general_dilated=conv.convolution(layers.platform),
  )


class Block(nn.Module):
  """A pre-activation residual block (He et al. 2016): [N, H, W, C] -> [N, H', W', channels].

  The residual branch is 0 at initialization. With `stride` 2 it halves height and width.
  """

  channels: int
  layers: Layers
  stride: int = 1

  @nn.compact
  def __call__(self, x: Array) -> Array:
    y = nn.relu(x)
    if self.stride != 1 or x.shape[-1] != self.channels:
      x = convolution(self.channels, self.layers, 1 if self.stride == 1 else 3, self.stride)(y)
    y = nn.relu(convolution(self.channels, self.layers, stride=self.stride)(y))
    return x + convolution(self.channels, self.layers, init=nn.initializers.zeros)(y)


class Representation(nn.Module):
  """The encoder: frames u8[N, S, H, W(, colors)] -> hidden state [N, H', W', channels] in 0..1."""

  size: Size
  layers: Layers

  @nn.compact
  def __call__(self, frames: Array) -> Array:
    x = stacked_input(frames, self.layers.dtype)
    channels, kernel, stride = self.size.first
    x = convolution(channels, self.layers, kernel, stride)(x)
    for _ in range(self.size.encoder_blocks):
      x = Block(channels, self.layers)(x)
    for channels, blocks, pooled in self.size.stages:
      if pooled:
        x = nn.avg_pool(x, (3, 3), (2, 2), "SAME")
      else:
        x = Block(channels, self.layers, stride=2)(x)
      for _ in range(blocks):
        x = Block(channels, self.layers)(x)
    if x.shape[-1] != self.size.channels:
      x = convolution(self.size.channels, self.layers)(x)
    return scale_hidden(x)


class Dynamics(nn.Module):
  """Hidden state, action i32[N] -> next hidden state, reward logits f32[N, bins]."""

  size: Size
  num_actions: int
  bins: int
  layers: Layers

  @nn.compact
  def __call__(self, hidden: Array, action: Array) -> tuple[Array, Array]:
    size = self.size
    # A bias per channel is equivalent to MuZero's constant action planes through a 1x1 convolution,
    # and cheaper.
    bias = nn.Embed(self.num_actions, size.channels, dtype=self.layers.dtype)(action)
    # The residual branch is 0 at initialization: at first only the action changes the hidden state.
    x = (
      hidden
      + convolution(size.channels, self.layers, init=nn.initializers.zeros)(hidden)
      + bias[:, None, None]
    )
    for _ in range(size.blocks):
      x = Block(size.channels, self.layers)(x)
    x = scale_hidden(x)
    return x, Head(size, self.bins, self.layers)(x)


class Head(nn.Module):
  """A head: a 1x1 convolution, then `Logits` in float32."""

  size: Size
  outputs: int
  layers: Layers

  @nn.compact
  def __call__(self, hidden: Array) -> Array:
    x = convolution(self.size.head_channels, self.layers, kernel=1)(hidden)
    return Logits(self.size.head_hidden, self.outputs)(nn.relu(x))


class Prediction(nn.Module):
  """Hidden state -> policy logits f32[N, A], value logits f32[N, bins]."""

  size: Size
  num_actions: int
  bins: int
  layers: Layers

  @nn.compact
  def __call__(self, hidden: Array) -> tuple[Array, Array]:
    x = hidden
    for _ in range(self.size.blocks):
      x = Block(self.size.channels, self.layers)(x)
    return Head(self.size, self.num_actions, self.layers)(x), Head(
      self.size, self.bins, self.layers
    )(x)


def resnet(size: str, num_actions: int, bins: int, dtype: Any, platform: str) -> Modules:
  """The residual network; a `Network` whose `size` is a key of `SIZES`."""
  shape, layers = SIZES[size], Layers(dtype, platform)
  return Modules(
    Representation(shape, layers),
    Dynamics(shape, num_actions, bins, layers),
    Prediction(shape, num_actions, bins, layers),
  )
