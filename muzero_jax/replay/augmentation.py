"""Augmentation: random shifts of training frames (Kostrikov et al. 2021, "DrQ")."""

import dataclasses

import jax
import jax.numpy as jnp

from muzero_jax.types import Array, Example, Key


def shift(key: Key, frames: Array, pixels: int) -> Array:
  """Shifts all frames of one example by the same random offset, and repeats the border pixels.

  Args:
    key: draws the offset.
    frames: [T, H, W] or [T, H, W, channels].
    pixels: largest shift in each direction.
  """
  start = jax.random.randint(key, (2,), 0, 2 * pixels + 1)
  channels = [(0, 0)] * (frames.ndim - 3)
  padded = jnp.pad(frames, [(0, 0), (pixels, pixels), (pixels, pixels), *channels], mode="edge")
  return jax.lax.dynamic_slice(padded, (0, start[0], start[1], *[0] * len(channels)), frames.shape)


def augment(key: Key, example: Example, pixels: int) -> Example:
  """Shifts the frames of each of N examples by a random offset of its own."""
  keys = jax.random.split(key, example.frames.shape[0])
  return dataclasses.replace(
    example, frames=jax.vmap(lambda k, f: shift(k, f, pixels))(keys, example.frames)
  )
