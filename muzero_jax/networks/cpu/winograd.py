"""Winograd's algorithm for convolutions with 3x3 kernels on CPUs: a quarter to a fifth of the
multiplications, as plain matrix products.

This is F(6x6, 3x3) of Lavin and Gray (2016). A tile of 8x8 pixels and the kernel are taken as
polynomials, evaluated at 8x8 points and multiplied there; 6x6 results are computed from the
products. Height and width are the leading axes, [H, W, N, C], so that each step is a matrix product
without transposition. A hidden state of 6x6 is a single tile.

Errors stay below 1e-4 of the largest result (tests/networks/cpu/winograd_test.py); TF32, which GPUs
use for convolutions by default, rounds each factor to 5e-4. XLA hoists the evaluation of kernels
out of a search's loop.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from muzero_jax.networks.cpu.cached import mapped, summed
from muzero_jax.types import Array

TILE = 6  # results per tile along each axis
# Fewer channels were not measured; with more, evaluated kernels would take 17 MB and more.
CHANNELS = range(32, 129)
POINTS = (0, 1, -1, 2, -2, 0.5, -0.5)  # where polynomials are evaluated, besides infinity


def _evaluation(size: int) -> np.ndarray:
  """The matrix [8, size] that evaluates a polynomial of `size` coefficients at POINTS and, by its
  highest coefficient, at infinity.
  """
  return np.array(
    [[point**power for power in range(size)] for point in POINTS] + [[0] * (size - 1) + [1]]
  )


KERNEL = _evaluation(3)  # [8, 3]
KERNELS = np.kron(KERNEL, KERNEL)  # [64, 9]: both axes at once
OUTPUT = _evaluation(TILE).T  # [6, 8]
INPUT = np.linalg.inv(_evaluation(TILE + 2)).T  # [8, 8]


def fits(image: Array, kernel: Array, strides: tuple, padding: tuple) -> bool:
  """Whether `convolve` supports this convolution and is expected to be faster."""
  of_its_kind = kernel.shape[:2] == (3, 3) and strides == (1, 1) and padding == ((1, 1), (1, 1))
  return (
    of_its_kind
    and image.dtype == jnp.float32
    and all(channels in CHANNELS for channels in kernel.shape[2:])
  )


@jax.custom_vjp
def convolve(image: Array, kernel: Array) -> Array:
  """Convolves image [N, H, W, C] with kernel [3, 3, C, D], with stride 1 and SAME padding.

  Returns:
    [N, H, W, D].
  """
  evaluated = (_matrix(KERNELS) @ kernel.reshape(9, -1)).reshape(
    -1, *kernel.shape[2:]
  )  # [64, C, D]

  def some(image: Array) -> Array:
    image = image.transpose(1, 2, 0, 3)
    products = lax.dot_general(_at_points(image, INPUT, 1), evaluated, (((2,), (1,)), ((0,), (0,))))
    return _read_off(products, image.shape).transpose(2, 0, 1, 3)

  return mapped(some, image)


def _forward(image, kernel):
  return convolve(image, kernel), (image, kernel)


def _backward(saved, gradient):
  image, kernel = saved
  return convolve(gradient, jnp.swapaxes(kernel[::-1, ::-1], 2, 3)), _kernel_gradient(
    image, gradient
  )


convolve.defvjp(_forward, _backward)


def _kernel_gradient(image: Array, gradient: Array) -> Array:
  """The kernel's gradient: image [N, H, W, C], gradient [N, H, W, D] -> [3, 3, C, D].

  The gradient of the products is the output's gradient, evaluated at the points.
  """

  def some(image: Array, gradient: Array) -> Array:
    image, gradient = (x.transpose(1, 2, 0, 3) for x in (image, gradient))
    return lax.dot_general(
      _at_points(image, INPUT, 1), _at_points(gradient, OUTPUT.T, 0), (((1,), (1,)), ((0,), (0,)))
    )

  evaluated = summed(some, image, gradient)
  return (_matrix(KERNELS.T) @ evaluated.reshape(64, -1)).reshape(3, 3, *evaluated.shape[1:])


def _at_points(image: Array, matrix: np.ndarray, margin: int) -> Array:
  """Applies `matrix` along both axes of each tile of an image [H, W, N, C] -> [64, tiles * N, C].

  A tile of the image extends `margin` pixels beyond its results.
  """
  channels = image.shape[-1]
  rows, down = _tiles(image, 0, 0, matrix, margin)
  rows = (down @ rows.reshape(rows.shape[0], -1)).reshape(8, *rows.shape[1:])  # [8, tiles, W, N, C]
  tiles, across = _tiles(rows, 2, 1, matrix, margin)  # [8, pixels, tiles, tiles, N, C]
  return _along(across, tiles.reshape(*tiles.shape[:2], -1)).reshape(64, -1, channels)


def _tiles(
  image: Array, axis: int, pixels: int, matrix: np.ndarray, margin: int
) -> tuple[Array, Array]:
  """Cuts an axis into tiles.

  Returns:
    The tiles, whose pixels are the new axis `pixels`; and the columns of `matrix` for these pixels.
  """
  size, length = matrix.shape[1], image.shape[axis]
  count = -(-length // TILE)
  if count == 1:  # pixels outside the image are 0, so their columns are left out
    return jnp.moveaxis(jnp.expand_dims(image, axis), axis + 1, pixels), _matrix(
      matrix[:, margin : margin + length]
    )

  def of_every_tile(pixel: int) -> Array:
    before = int(pixel < margin)  # in the first tile this pixel lies outside the image
    first, last = pixel - margin + TILE * before, pixel - margin + TILE * (count - 1)
    inside = lax.slice_in_dim(image, first, min(last + 1, length), TILE, axis)
    outside = [(0, 0)] * image.ndim
    outside[axis] = (before, count - before - inside.shape[axis])
    return jnp.pad(inside, outside)

  return jnp.stack([of_every_tile(pixel) for pixel in range(size)], pixels), _matrix(matrix)


def _read_off(products: Array, shape: tuple[int, ...]) -> Array:
  """Computes results [H, W, N, D] from products [64, tiles * N, D]; `shape` is the image's,
  [H, W, N, C].
  """
  height, width, size, _ = shape
  down, across = -(-height // TILE), -(-width // TILE)
  matrix = _matrix(OUTPUT)
  results = matrix @ _along(matrix, products.reshape(8, 8, -1)).reshape(8, -1)
  results = results.reshape(TILE, TILE, down, across, size, -1).transpose(2, 0, 3, 1, 4, 5)
  return results.reshape(down * TILE, across * TILE, size, -1)[:height, :width]


def _along(matrix: Array, x: Array) -> Array:
  """matrix [a, b] times x [n, b, k] -> [n, a, k], as a batch of products with equal matrices, which
  XLA:CPU runs faster than one contraction.
  """
  return jnp.broadcast_to(matrix, (x.shape[0], *matrix.shape)) @ x


def _matrix(values: np.ndarray) -> Array:
  return jnp.asarray(values, jnp.float32)
