"""A convolution whose gradients are fast on XLA:CPU.

XLA:CPU's gradients of a convolution take 22 to 35 times as long as the convolution itself. So on
the CPU gradients are expressed by fast operations: that of the kernel by a few matrix products,
that of the image by a forward convolution or, if the stride is above 1, by the transpose of im2col.
If `winograd.fits` is true, Winograd's algorithm replaces all of these.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from muzero_jax.networks.cpu import winograd
from muzero_jax.networks.cpu.cached import summed
from muzero_jax.types import Array


def convolution(platform: str) -> Callable:
  """The fastest `conv_general_dilated` on "cpu", "gpu" or "tpu"; for `flax.linen.Conv`."""
  return conv_general_dilated if platform == "cpu" else lax.conv_general_dilated


def conv_general_dilated(lhs: Array, rhs: Array, window_strides, padding, **kwargs) -> Array:
  """`lax.conv_general_dilated` for NHWC images on a CPU.

  Raises:
    ValueError: dilation or groups, which the gradient for the CPU does not support.
  """
  if kwargs.get("feature_group_count", 1) != 1 or any(
    max(kwargs.get(name) or (1,)) > 1 for name in ("lhs_dilation", "rhs_dilation")
  ):
    raise ValueError("convolutions of this network have neither groups nor dilation")
  if isinstance(padding, str):
    padding = lax.padtype_to_pads(lhs.shape[1:3], rhs.shape[:2], window_strides, padding)
  strides, padding = tuple(window_strides), tuple(map(tuple, padding))
  if winograd.fits(lhs, rhs, strides, padding):
    return winograd.convolve(lhs, rhs)
  return _convolve(lhs, rhs, strides, padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(image: Array, kernel: Array, strides: tuple, padding: tuple) -> Array:
  return lax.conv_general_dilated(
    image, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


def _forward(image, kernel, strides, padding):
  return _convolve(image, kernel, strides, padding), (image, kernel)


def _backward(strides, padding, saved, gradient):
  image, kernel = saved
  return _image_gradient(image, kernel, strides, padding, gradient), _kernel_gradient(
    image, kernel, strides, padding, gradient
  )


def _image_gradient(
  image: Array, kernel: Array, strides: tuple, padding: tuple, gradient: Array
) -> Array:
  if strides != (1, 1):
    return jax.vjp(lambda x: im2col(x, kernel, strides, padding), image)[1](gradient)[0]
  margins = tuple(
    (size - 1 - low, size - 1 - high)
    for size, (low, high) in zip(kernel.shape[:2], padding, strict=True)
  )
  return _convolve(gradient, jnp.swapaxes(kernel[::-1, ::-1], 2, 3), (1, 1), margins)


def _kernel_gradient(
  image: Array, kernel: Array, strides: tuple, padding: tuple, gradient: Array
) -> Array:
  product = _product_of_rows if strides == (1, 1) else _product_of_positions
  return summed(
    lambda some, gradients: product(some, kernel, strides, padding, gradients), image, gradient
  ).astype(kernel.dtype)


def _product_of_rows(
  image: Array, kernel: Array, strides: tuple, padding: tuple, gradient: Array
) -> Array:
  """The kernel's gradient for stride 1, by one matrix product per row of the kernel.

  Shifted copies of the output's gradient, one per column of the kernel, are concatenated.
  """
  del strides
  (height, width), (low, high) = kernel.shape[:2], padding[1]
  image = jnp.pad(image, ((0, 0), padding[0], (0, 0), (0, 0)))
  none = (0, 0, 0)
  wide = lax.pad(
    gradient,
    jnp.zeros((), gradient.dtype),
    (none, none, (width - 1 - low, width - 1 - high, 0), none),
  )
  shifted = jnp.concatenate(
    [wide[:, :, x : x + image.shape[2]] for x in reversed(range(width))], -1
  )
  flat = shifted.reshape(-1, width * kernel.shape[3])
  products = [
    image[:, y : y + gradient.shape[1]].reshape(-1, kernel.shape[2]).T @ flat for y in range(height)
  ]
  return jnp.swapaxes(
    jnp.stack(products).reshape(height, kernel.shape[2], width, kernel.shape[3]), 1, 2
  )


def _product_of_positions(
  image: Array, kernel: Array, strides: tuple, padding: tuple, gradient: Array
) -> Array:
  """The kernel's gradient for any stride, by one matrix product per position of the kernel."""
  channels, features = kernel.shape[2:]
  flat = gradient.reshape(-1, features)
  return jnp.stack(
    [x.reshape(-1, channels).T @ flat for x in patches(image, kernel, strides, padding)]
  ).reshape(kernel.shape)


_convolve.defvjp(_forward, _backward)


def patches(image: Array, kernel: Array, strides: tuple, padding: tuple) -> list[Array]:
  """For each position of the kernel [h, w, ...], the pixels of the image [N, H, W, C] that it is
  multiplied with: h*w arrays [N, H', W', C].
  """
  image = jnp.pad(image, ((0, 0), *padding, (0, 0)))
  (height, width), (down, right) = kernel.shape[:2], strides
  rows, columns = (image.shape[1] - height) // down + 1, (image.shape[2] - width) // right + 1
  return [
    image[:, y : y + (rows - 1) * down + 1 : down, x : x + (columns - 1) * right + 1 : right]
    for y in range(height)
    for x in range(width)
  ]


def im2col(image: Array, kernel: Array, strides: tuple, padding: tuple) -> Array:
  """A convolution as one matrix product.

  Args:
    image: [N, H, W, C].
    kernel: [h, w, C, D].
    strides: (down, right).
    padding: ((top, bottom), (left, right)).

  Returns:
    [N, H', W', D].
  """
  return jnp.concatenate(patches(image, kernel, strides, padding), -1) @ kernel.reshape(
    -1, kernel.shape[-1]
  )
