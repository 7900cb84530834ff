"""Random shifts of training frames (Kostrikov et al. 2021, "DrQ")."""

import dataclasses

import jax
import jax.numpy as jnp

from muzero_jax.types import Array, Example, Key


def shift(key: Key, frames: Array, pixels: int) -> Array:
  """Moves all frames of one example [T, H, W(, channels)] by one draw of up to `pixels` in each
  direction, repeating the border.
  """
  start = jax.random.randint(key, (2,), 0, 2 * pixels + 1)
  channels = [(0, 0)] * (frames.ndim - 3)
  padded = jnp.pad(frames, [(0, 0), (pixels, pixels), (pixels, pixels), *channels], mode="edge")
  return jax.lax.dynamic_slice(padded, (0, start[0], start[1], *[0] * len(channels)), frames.shape)


def augment(key: Key, example: Example, pixels: int) -> Example:
  """Examples [N, ...] with every example's frames shifted by a draw of its own."""
  keys = jax.random.split(key, example.frames.shape[0])
  return dataclasses.replace(
    example, frames=jax.vmap(lambda k, f: shift(k, f, pixels))(keys, example.frames)
  )
