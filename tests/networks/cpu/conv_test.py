"""The convolution with its own gradient, against XLA's and against loops."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from muzero_jax.networks.cpu import cached, conv

NHWC = ("NHWC", "HWIO", "NHWC")


def by_loops(image, kernel, stride):
  """SAME padding written out: as much as needed, the odd pixel below and to the right."""
  size, channels = kernel.shape[0], kernel.shape[3]
  out = [-(-edge // stride) for edge in image.shape[1:3]]
  pads = [
    max((o - 1) * stride + size - edge, 0) for o, edge in zip(out, image.shape[1:3], strict=True)
  ]
  padded = np.pad(image, [(0, 0), *((p // 2, p - p // 2) for p in pads), (0, 0)])
  result = np.zeros((image.shape[0], *out, channels))
  for y in range(out[0]):
    for x in range(out[1]):
      patch = padded[:, y * stride : y * stride + size, x * stride : x * stride + size]
      result[:, y, x] = np.tensordot(patch, kernel, 3)
  return result


def inputs(size, height, width):
  random = np.random.default_rng(0)
  image = random.normal(size=(2, height, width, 3)).astype(np.float32)
  kernel = random.normal(size=(size, size, 3, 4)).astype(np.float32)
  return image, kernel


def value_and_gradients(convolve, image, kernel, stride, padding="SAME"):
  """The output, and the gradients of its product with fixed numbers."""

  def run(image, kernel):
    out, pull_back = jax.vjp(
      lambda i, k: convolve(i, k, (stride, stride), padding, dimension_numbers=NHWC), image, kernel
    )
    weights = jnp.sin(jnp.arange(out.size, dtype=jnp.float32)).reshape(out.shape).astype(out.dtype)
    return out, *pull_back(weights)

  return jax.jit(run)(image, kernel)


@pytest.mark.parametrize("stride", [1, 2, 4])
@pytest.mark.parametrize("size", [1, 3, 4])
@pytest.mark.parametrize("height,width", [(7, 10), (8, 5)])
def test_same_output_and_gradients_as_lax(stride, size, height, width):
  image, kernel = inputs(size, height, width)
  found = value_and_gradients(conv.conv_general_dilated, image, kernel, stride)
  expected = value_and_gradients(lax.conv_general_dilated, image, kernel, stride)
  np.testing.assert_allclose(expected[0], by_loops(image, kernel, stride), rtol=1e-4, atol=1e-4)
  for got, want in zip(found, expected, strict=True):
    assert got.shape == want.shape and got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride,size", [(1, 3), (2, 3), (4, 4)])
def test_im2col_is_the_same_convolution(stride, size):
  image, kernel = inputs(size, 9, 7)
  padding = tuple(lax.padtype_to_pads((9, 7), (size, size), (stride, stride), "SAME"))
  found = conv.im2col(image, kernel, (stride, stride), padding)
  np.testing.assert_allclose(found, by_loops(image, kernel, stride), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", ["VALID", [(2, 0), (1, 3)]])
def test_other_paddings(padding):
  image, kernel = inputs(3, 7, 6)
  found = value_and_gradients(conv.conv_general_dilated, image, kernel, 2, padding)
  expected = value_and_gradients(lax.conv_general_dilated, image, kernel, 2, padding)
  for got, want in zip(found, expected, strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_different_strides_of_rows_and_columns():
  image, kernel = inputs(3, 7, 9)
  found = conv.conv_general_dilated(image, kernel, (1, 2), "SAME", dimension_numbers=NHWC)
  np.testing.assert_allclose(
    found,
    lax.conv_general_dilated(image, kernel, (1, 2), "SAME", dimension_numbers=NHWC),
    rtol=1e-5,
  )


def test_gradient_of_one_pixel_by_hand():
  """A 1x1 image under a 3x3 kernel: only the kernel's center sees it."""
  kernel = jnp.arange(9.0).reshape(3, 3, 1, 1)

  def out(image, kernel):
    return conv.conv_general_dilated(image, kernel, (1, 1), "SAME").sum()

  by_image, by_kernel = jax.grad(out, (0, 1))(jnp.full((1, 1, 1, 1), 5.0), kernel)
  assert by_image.item() == 4  # the center of 0 .. 8
  np.testing.assert_array_equal(by_kernel[..., 0, 0], [[0, 0, 0], [0, 5, 0], [0, 0, 0]])


def test_bfloat16_stays_bfloat16():
  image, kernel = (jnp.asarray(x, jnp.bfloat16) for x in inputs(3, 6, 6))
  found = value_and_gradients(conv.conv_general_dilated, image, kernel, 2)
  assert {x.dtype for x in found} == {jnp.dtype(jnp.bfloat16)}


@pytest.mark.parametrize("stride,size", [(1, 3), (2, 3), (4, 4)])
def test_in_a_flax_layer(stride, size):
  """As `flax.linen.Conv` calls it, with the same parameters, outputs and gradients as without
  it.
  """
  image, _ = inputs(size, 9, 7)
  layers = [
    nn.Conv(4, (size, size), stride, use_bias=False, **own)
    for own in ({}, dict(conv_general_dilated=conv.conv_general_dilated))
  ]
  params = layers[0].init(jax.random.key(0), image)

  def gradient(layer):
    return jax.jit(jax.value_and_grad(lambda p, x: jnp.sum(jnp.sin(layer.apply(p, x))), (0, 1)))(
      params, image
    )

  for got, want in zip(*(jax.tree.leaves(gradient(layer)) for layer in layers), strict=True):
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_under_vmap():
  image, kernel = inputs(3, 5, 6)
  images = jnp.stack([image, 2 * image])
  found = jax.vmap(lambda i: conv.conv_general_dilated(i, kernel, (2, 2), "SAME"))(images)
  np.testing.assert_allclose(found[1], 2 * by_loops(image, kernel, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2])
def test_images_in_parts_give_the_same_gradient(stride, monkeypatch):
  """6 images of 8 x 5 x 3 numbers (480 bytes each): in parts of at most 980 bytes they are 3 parts
  of 2.
  """
  image, kernel = inputs(3, 8, 5)
  image = jnp.concatenate([image, 2 * image, image - 1])
  assert image.shape[0] == 6 and cached.chunks(image) == 1
  whole = value_and_gradients(conv.conv_general_dilated, image, kernel, stride)
  monkeypatch.setattr(cached, "CACHED", 2 * image[0].size * 4 + 20)
  assert cached.chunks(image) == 3
  parts = value_and_gradients(conv.conv_general_dilated, image, kernel, stride)
  for one, other in zip(whole, parts, strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
