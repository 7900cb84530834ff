"""Processes images in chunks, so that intermediate results stay in a CPU core's cache."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from muzero_jax.types import Array

CACHED = 2**20  # largest size of a chunk of images, in bytes, that stays in a core's cache
SHARED = 2**22  # largest size of all images, in bytes, that stays in the cache shared by the cores


def mapped(function: Callable[[Array], Array], images: Array) -> Array:
  """Applies `function`, which maps images [N, ...] independently to [N, ...], chunk by chunk.

  The results of chunks must be copied into one array. So chunks are used only if the images are
  larger than the cache shared by the cores.
  """
  count = chunks(images)
  if count == 1 or images.size * images.dtype.itemsize <= SHARED:
    return function(images)
  result = lax.map(function, images.reshape(count, -1, *images.shape[1:]))
  return result.reshape(-1, *result.shape[2:])


def summed(function: Callable[[Array, Array], Array], images: Array, gradients: Array) -> Array:
  """Applies `function`, which sums over images and gradients [N, ...], chunk by chunk.

  Returns:
    The sum of its results, f32.
  """
  count = chunks(images)
  if count == 1:
    return function(images, gradients)
  images, gradients = (x.reshape(count, -1, *x.shape[1:]) for x in (images, gradients))
  shape = jnp.shape(function(images[0], gradients[0]))
  return lax.fori_loop(
    0,
    count,
    lambda i, total: total + function(images[i], gradients[i]),
    jnp.zeros(shape, jnp.float32),
  )


def chunks(images: Array) -> int:
  """The number of equal chunks, of at most `CACHED` bytes each, into which images are split."""
  size = images.shape[0]
  wanted = math.ceil(images.size * images.dtype.itemsize / CACHED)
  return next((count for count in range(max(wanted, 1), size) if size % count == 0), max(size, 1))
