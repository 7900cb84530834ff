"""Convolution with a gradient that XLA:CPU can run.

There the gradients of a convolution take 22 to 35 times as long as the same by im2col and a matrix product (BUILD.md); forward
convolutions are as fast. So the forward pass stays what it is, and on the CPU only its gradient is taken through im2col.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from muzero_jax.types import Array


def conv_general_dilated(lhs: Array, rhs: Array, window_strides, padding, **kwargs) -> Array:
  """`lax.conv_general_dilated` for undilated, ungrouped NHWC images; pass it to `flax.linen.Conv`.

  Raises:
    ValueError: dilation or groups are asked for, which the CPU's gradient does not know.
  """
  if kwargs.get("feature_group_count", 1) != 1 or any(max(kwargs.get(name) or (1,)) > 1 for name in ("lhs_dilation", "rhs_dilation")):
    raise ValueError("convolutions of this network have neither groups nor dilation")
  if jax.default_backend() != "cpu":
    return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **kwargs)
  if isinstance(padding, str):
    padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], window_strides, padding)
  return _convolve(lhs, rhs, tuple(window_strides), tuple(map(tuple, padding)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(image: Array, kernel: Array, strides: tuple, padding: tuple) -> Array:
  return lax.conv_general_dilated(image, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _forward(image, kernel, strides, padding):
  return _convolve(image, kernel, strides, padding), (image, kernel)


def _backward(strides, padding, saved, gradient):
  _, pull_back = jax.vjp(lambda image, kernel: im2col(image, kernel, strides, padding), *saved)
  return pull_back(gradient)


_convolve.defvjp(_forward, _backward)


def im2col(image: Array, kernel: Array, strides: tuple, padding: tuple) -> Array:
  """The same convolution as one matrix product. image [N, H, W, C], kernel [h, w, C, D], padding ((top, bottom), (left, right))."""
  height, width, channels, features = kernel.shape
  image = jnp.pad(image, ((0, 0), *padding, (0, 0)))
  rows = (image.shape[1] - height) // strides[0] + 1
  columns = (image.shape[2] - width) // strides[1] + 1
  patches = [
    image[:, y : y + (rows - 1) * strides[0] + 1 : strides[0], x : x + (columns - 1) * strides[1] + 1 : strides[1]]
    for y in range(height)
    for x in range(width)
  ]
  return jnp.concatenate(patches, -1) @ kernel.reshape(height * width * channels, features)
