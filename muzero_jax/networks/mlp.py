"""The fully connected network, for observations that are short vectors or small boards."""

from typing import Any

import flax.linen as nn

from muzero_jax.networks.model import Logits, Modules, scale_hidden, stacked_input
from muzero_jax.types import Array

WIDTHS = {"grid": 64, "tiny": 64, "small": 256, "efficientzero": 512, "muzero": 1024}


class Representation(nn.Module):
  """The encoder: frames [N, S, *frame_shape] -> hidden state [N, width] in 0..1."""

  width: int
  dtype: Any

  @nn.compact
  def __call__(self, frames: Array) -> Array:
    x = stacked_input(frames, self.dtype).reshape(frames.shape[0], -1)
    x = nn.relu(nn.LayerNorm(dtype=self.dtype)(nn.Dense(self.width, dtype=self.dtype)(x)))
    return scale_hidden(nn.LayerNorm(dtype=self.dtype)(nn.Dense(self.width, dtype=self.dtype)(x)))


class Dynamics(nn.Module):
  """Hidden state [N, width], action i32[N] -> next hidden state, reward logits f32[N, bins]."""

  width: int
  num_actions: int
  bins: int
  dtype: Any
  head: int  # width of the reward head

  @nn.compact
  def __call__(self, hidden: Array, action: Array) -> tuple[Array, Array]:
    x = nn.Dense(self.width, dtype=self.dtype)(hidden) + nn.Embed(
      self.num_actions, self.width, dtype=self.dtype
    )(action)
    x = nn.relu(nn.LayerNorm(dtype=self.dtype)(x))
    x = nn.LayerNorm(dtype=self.dtype, scale_init=nn.initializers.zeros)(
      nn.Dense(self.width, dtype=self.dtype)(x)
    )
    # The residual branch is 0 at initialization (`scale_init`): at first the hidden state persists.
    x = scale_hidden(hidden + x)
    return x, Logits(self.head, self.bins)(x)


class Prediction(nn.Module):
  """Hidden state [N, width] -> policy logits f32[N, A], value logits f32[N, bins]."""

  width: int
  num_actions: int
  bins: int

  @nn.compact
  def __call__(self, hidden: Array) -> tuple[Array, Array]:
    return Logits(self.width, self.num_actions)(hidden), Logits(self.width, self.bins)(hidden)


def mlp(size: str, num_actions: int, bins: int, dtype: Any, platform: str) -> Modules:
  """The fully connected network; a `Network` whose `size` is a key of `WIDTHS`."""
  del platform
  width = WIDTHS[size]
  return on_vectors(Representation(width, dtype), width, width, num_actions, bins, dtype)


def on_vectors(
  encoder: nn.Module, width: int, head: int, num_actions: int, bins: int, dtype: Any
) -> Modules:
  """Fully connected dynamics and heads, behind an encoder whose hidden state is a vector.

  Args:
    encoder: the representation.
    width: of the hidden state.
    head: width of the heads.
    num_actions: A.
    bins: of values and rewards.
    dtype: of the trunk.
  """
  dynamics = Dynamics(width, num_actions, bins, dtype, head)
  return Modules(encoder, dynamics, Prediction(head, num_actions, bins))
