"""A few images at a time, so that what is made of them stays in a core's cache."""

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from muzero_jax.types import Array

CACHED = 2**20  # bytes of images that stay in a core's cache
SHARED = 2**22  # bytes of images that stay in the cache of all cores


def mapped(function: Callable[[Array], Array], images: Array) -> Array:
  """`function` of images [N, ...], which treats each image alone -> [N, ...].

  Its results are copied together, so this gains something only where all images at once would not
  stay in any cache.
  """
  count = chunks(images)
  if count == 1 or images.size * images.dtype.itemsize <= SHARED:
    return function(images)
  result = lax.map(function, images.reshape(count, -1, *images.shape[1:]))
  return result.reshape(-1, *result.shape[2:])


def summed(function: Callable[[Array, Array], Array], images: Array, gradients: Array) -> Array:
  """`function` of images and gradients [N, ...], which adds up over them -> whatever it gives,
  f32.
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
  """Into how many equal parts of at most `CACHED` bytes the images are cut."""
  size = images.shape[0]
  wanted = math.ceil(images.size * images.dtype.itemsize / CACHED)
  return next((count for count in range(max(wanted, 1), size) if size % count == 0), max(size, 1))
