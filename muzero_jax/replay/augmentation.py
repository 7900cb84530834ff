"""Augmentation: random shifts of training frames (Kostrikov et al. 2021, "DrQ")."""

import dataclasses

import jax
import jax.numpy as jnp

from muzero_jax.types import Array, Example, Key


def shift(key: Key, frames: Array, pixels: int, by_products: bool = False) -> Array:
  """Shifts all frames of one example by the same random offset, and repeats the border pixels.

  Args:
    key: draws the offset.
    frames: [T, H, W] or [T, H, W, channels].
    pixels: largest shift in each direction.
    by_products: shift u8 frames by two matrix products, with the same result. On a TPU XLA runs
      slices with an offset for each example one after the other.
  """
  start = jax.random.randint(key, (2,), 0, 2 * pixels + 1)
  if by_products and frames.dtype == jnp.uint8:
    return _moved(frames, start - pixels)
  channels = [(0, 0)] * (frames.ndim - 3)
  padded = jnp.pad(frames, [(0, 0), (pixels, pixels), (pixels, pixels), *channels], mode="edge")
  return jax.lax.dynamic_slice(padded, (0, start[0], start[1], *[0] * len(channels)), frames.shape)


def _moved(frames: Array, offset: Array) -> Array:
  """Frames u8[T, H, W(, channels)] in which each pixel shows what lies `offset`, i32[2], from it.

  The factors have one 1 in each row, so the products are exact: bfloat16 holds 0 .. 255.
  """

  def selection(size: int, offset: Array) -> Array:
    source = jnp.clip(jnp.arange(size) + offset, 0, size - 1)
    return (source[:, None] == jnp.arange(size)[None]).astype(jnp.bfloat16)

  rows, columns = (selection(frames.shape[axis], offset[axis - 1]) for axis in (1, 2))
  moved = jnp.einsum("ij,tjw...->tiw...", rows, frames.astype(jnp.bfloat16))
  return jnp.einsum("kw,tiw...->tik...", columns, moved).astype(jnp.uint8)


def augment(key: Key, example: Example, pixels: int, by_products: bool = False) -> Example:
  """Shifts the frames of each of N examples by a random offset of its own (see `shift`)."""
  keys = jax.random.split(key, example.frames.shape[0])
  frames = jax.vmap(lambda k, f: shift(k, f, pixels, by_products))(keys, example.frames)
  return dataclasses.replace(example, frames=frames)
