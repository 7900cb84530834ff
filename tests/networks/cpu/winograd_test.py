"""Winograd's convolution against numbers by hand, and against XLA's."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from muzero_jax.networks.cpu import cached, conv, winograd

SAME = ((1, 1), (1, 1))


def direct(image, kernel):
  return lax.conv_general_dilated(
    image, kernel, (1, 1), SAME, dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


def inputs(size, height, width, channels=32, features=64):
  """An image and a kernel whose convolution's numbers are about 1."""
  random = np.random.default_rng(0)
  image = random.normal(size=(size, height, width, channels)).astype(np.float32)
  kernel = (random.normal(size=(3, 3, channels, features)) / np.sqrt(9 * channels)).astype(
    np.float32
  )
  return image, kernel


def value_and_gradients(convolve, image, kernel):
  out, pull_back = jax.vjp(convolve, image, kernel)
  return out, *pull_back(jnp.sin(jnp.arange(out.size, dtype=jnp.float32)).reshape(out.shape))


def assert_same(image, kernel):
  """To 1e-4 of the largest number, which is what the module promises."""
  found = jax.jit(value_and_gradients, static_argnums=0)(winograd.convolve, image, kernel)
  expected = value_and_gradients(direct, image, kernel)
  for got, want in zip(found, expected, strict=True):
    assert got.shape == want.shape and got.dtype == jnp.float32
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-4 * np.abs(want).max())


def test_one_row_by_hand():
  """1, 2, ..., 8 under 1, 10, 100: 321, 432, ..., 876."""
  products = (winograd.KERNEL @ [1, 10, 100]) * (winograd.INPUT @ np.arange(1, 9))
  np.testing.assert_allclose(winograd.OUTPUT @ products, [321, 432, 543, 654, 765, 876], rtol=1e-9)


def test_ones_by_hand():
  """Of 3x3 pixels of 32 ones each, a corner sees 2x2, an edge 2x3."""
  found = winograd.convolve(jnp.ones((1, 9, 7, 32)), jnp.ones((3, 3, 32, 32)))[0, :, :, 5]
  expected = np.full((9, 7), 9 * 32)
  expected[[0, -1]] = expected[:, [0, -1]] = 6 * 32
  expected[[0, 0, -1, -1], [0, -1, 0, -1]] = 4 * 32
  np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize(
  "size,height,width",
  [(3, 6, 6), (1, 4, 4), (2, 21, 21), (2, 5, 13), (2, 13, 6), (1, 12, 8), (1, 1, 1)],
)
def test_same_output_and_gradients_as_lax(size, height, width):
  """One tile, part of one, whole tiles, tiles beyond the edge, one along one axis only."""
  assert_same(*inputs(size, height, width))


def test_images_in_parts(monkeypatch):
  monkeypatch.setattr(cached, "CACHED", 2 * 7 * 7 * 32 * 4)
  monkeypatch.setattr(cached, "SHARED", 0)
  image, kernel = inputs(6, 7, 7)
  assert cached.chunks(image) == 3
  assert_same(image, kernel)


def test_under_vmap():
  image, kernel = inputs(2, 6, 6)
  found = jax.vmap(winograd.convolve, (0, None))(jnp.stack([image, 2 * image]), kernel)
  np.testing.assert_allclose(found[1], 2 * direct(image, kernel), atol=1e-3)


def test_what_fits():
  image, kernel = inputs(1, 6, 6)
  assert winograd.fits(image, kernel, (1, 1), SAME)
  assert not winograd.fits(image, kernel, (2, 2), SAME)
  assert not winograd.fits(image, kernel, (1, 1), ((0, 0), (0, 0)))
  assert not winograd.fits(image, kernel[:1, :1], (1, 1), SAME)
  assert not winograd.fits(image[..., :4], kernel[:, :, :4], (1, 1), SAME)
  assert not winograd.fits(image.astype(jnp.bfloat16), kernel, (1, 1), SAME)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere convolutions are XLA's")
def test_a_kernel_is_evaluated_once_for_a_search():
  """Every simulation uses the same kernels: XLA lifts their evaluation [64, 9] x [9, C * D] out of
  the loop.
  """
  image, kernel = inputs(4, 6, 6, 32, 32)

  def simulate(image, kernel):
    return lax.fori_loop(
      0, 8, lambda i, x: conv.conv_general_dilated(x, kernel, (1, 1), SAME), image
    )

  program = jax.jit(simulate).lower(image, kernel).compile().as_text()
  bodies = set(re.findall(r"body=%?([\w.\-]+)", program))
  found = {}
  for computation in re.split(r"\n(?=\S)", program):
    if evaluations := re.findall(r"= f32\[64,1024\]\S* (?:dot|fusion|custom-call)\(", computation):
      name = re.match(r"(?:ENTRY )?%?([\w.\-]+)", computation)[1]
      found[name] = len(evaluations)
  assert found and not bodies & set(found)
