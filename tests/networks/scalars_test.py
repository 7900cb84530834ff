"""Scalars as categorical distributions, against numbers worked by hand and float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.networks.scalars import Support, inverse, transform

MAGNITUDES = np.concatenate([[0, 1e-6, 1e-3, 0.5, 1], np.geomspace(1.5, 1e5, 60)])
SCALARS = np.concatenate([-MAGNITUDES[::-1], MAGNITUDES]).astype(np.float32)


def squash(x):
  """h(x) in float64."""
  x = np.asarray(x, np.float64)
  return np.sign(x) * (np.sqrt(np.abs(x) + 1) - 1) + 0.001 * x


def test_transform_by_hand():
  # h(3) = sqrt 4 - 1 + 0.003; h(-8) = -(sqrt 9 - 1) - 0.008; h(99999) = sqrt 100000 - 1 + 99.999 =
  # 316.227766 + 98.999.
  found = transform(jnp.array([0.0, 3.0, -8.0, 99999.0]))
  np.testing.assert_allclose(found, [0, 1.003, -2.008, 415.226766], rtol=1e-6)


def test_inverse_of_transform_is_identity():
  """inverse(transform(x)) == x over +-1e5, both signs."""
  np.testing.assert_allclose(
    inverse(transform(jnp.asarray(SCALARS))), SCALARS, rtol=2e-6, atol=1e-6
  )


def test_inverse_agrees_with_float64():
  """inverse(h(x)) == x where h is computed in float64: errors of the two do not cancel."""
  np.testing.assert_allclose(
    inverse(jnp.asarray(squash(SCALARS), jnp.float32)), SCALARS, rtol=2e-6, atol=1e-6
  )


def test_inverse_keeps_signs_and_zero():
  assert inverse(jnp.float32(0)) == 0
  np.testing.assert_array_equal(inverse(-jnp.arange(400.0)), -inverse(jnp.arange(400.0)))


def test_two_hot_by_hand():
  """The two nearest bins share a scalar by its distance to them."""
  support = Support(2)  # bins -2 -1 0 1 2
  # h(0) = 0; h(3) = 1.003; h(-0.21) = -(1.1 - 1) - 0.00021 = -0.10021; h(-3) = -1.003.
  found = support.encode(jnp.array([0.0, 3.0, -0.21, -3.0]))
  expected = [
    [0, 0, 1, 0, 0],
    [0, 0, 0, 0.997, 0.003],
    [0, 0.10021, 0.89979, 0, 0],
    [0.003, 0.997, 0, 0, 0],
  ]
  np.testing.assert_allclose(found, expected, atol=2e-6)


def test_two_hot_of_a_bin_is_one_hot():
  support = Support(3)
  found = support.encode(inverse(jnp.arange(-3.0, 4.0)))
  np.testing.assert_allclose(found, np.eye(7), atol=2e-6)


@pytest.mark.parametrize("size", [1, 10, 300])
def test_two_hot_is_a_distribution_with_two_neighbours(size):
  support = Support(size)
  found = np.asarray(support.encode(jnp.asarray(SCALARS)))
  assert found.shape == (SCALARS.size, 2 * size + 1)
  assert found.min() >= 0
  np.testing.assert_allclose(found.sum(-1), 1, atol=1e-6)
  for row in found:
    hot = np.flatnonzero(row)
    assert hot.size <= 2 and hot.max() - hot.min() <= 1


def test_two_hot_beyond_the_support_is_its_end():
  """h(+-1e5) = +-415 lies beyond +-300."""
  found = np.asarray(Support(300).encode(jnp.array([1e5, -1e5])))
  assert found[0, 600] == 1 and found[1, 0] == 1
  np.testing.assert_array_equal(found.sum(-1), [1, 1])


def test_601_bins():
  assert Support(300).bins == 601


def test_decode_by_hand():
  """The expectation in transformed space, then the inverse transform; not the expectation of
  scalars.
  """
  support = Support(2)
  logits = jnp.log(
    jnp.array(
      [[1e-20, 1e-20, 0.5, 1e-20, 0.5], [0.25, 0.25, 0.25, 0.25, 1e-20], [0.2, 0.2, 0.2, 0.2, 0.2]]
    )
  )
  # Expectations 1, (-2 - 1 + 0 + 1)/4 = -0.5, 0. h(x) = y, in float64 by bisection below.
  np.testing.assert_allclose(
    support.decode(logits), [bisect(1), bisect(-0.5), 0], rtol=1e-5, atol=1e-6
  )


def bisect(y):
  low, high = -1e6, 1e6
  for _ in range(200):
    middle = (low + high) / 2
    low, high = (middle, high) if squash(middle) < y else (low, middle)
  return low


def test_decode_undoes_encode():
  """Targets survive the way through the head: inside the support, decode(log encode(x)) == x."""
  inside = SCALARS[np.abs(squash(SCALARS)) < 300]
  support = Support(300)
  found = support.decode(jnp.log(support.encode(jnp.asarray(inside))))
  np.testing.assert_allclose(found, inside, rtol=1e-4, atol=1e-3)


def test_scalars_in_float32_whatever_the_trunk():
  """Softmax over the support in float32, whatever the trunk's precision: half-precision logits and
  scalars are widened first.
  """
  support = Support(300)
  logits = jax.random.normal(jax.random.key(0), (3, 601)).astype(jnp.bfloat16)
  assert support.decode(logits).dtype == jnp.float32
  wide = np.asarray(logits, np.float64)
  shares = np.exp(wide) / np.exp(wide).sum(-1, keepdims=True)
  expected = [bisect(y) for y in shares @ np.arange(-300, 301)]
  np.testing.assert_allclose(support.decode(logits), expected, rtol=1e-3, atol=1e-3)
  encoded = support.encode(jnp.array([3.0], jnp.bfloat16))
  assert encoded.dtype == jnp.float32
  np.testing.assert_allclose(encoded[0, 301:303], [0.997, 0.003], atol=1e-4)


def test_a_count_of_values_by_hand():
  """41 values from -2 to 2 are 0.1 apart; a size alone gives whole numbers. h(3) = 1.003: bin 20 +
  10, and 0.03 of the next. h(-0.21) = -0.10021: 0.0021 below bin 20 - 1. h(-3) = -1.003, and the
  ends, as h(0) = 0, are whole bins."""
  support = Support(2, 41)
  assert (support.bins, support.spacing) == (41, 0.1) and (Support(2).bins, Support(2).spacing) == (
    5,
    1.0,
  )
  found = np.asarray(support.encode(jnp.array([0.0, 3.0, -0.21, -3.0, 1e5, -1e5])))
  shares = [
    {20: 1},
    {30: 0.97, 31: 0.03},
    {18: 0.0021, 19: 0.9979},
    {9: 0.03, 10: 0.97},
    {40: 1},
    {0: 1},
  ]
  expected = [[row.get(i, 0) for i in range(41)] for row in shares]
  np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_count_of_values_is_evenly_spaced():
  """A head that is sure of bin i says the x with h(x) = -2 + 0.1 i."""
  found = Support(2, 41).decode(jnp.log(jnp.eye(41)))
  np.testing.assert_allclose(found, [bisect(-2 + 0.1 * i) for i in range(41)], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "count"), [(2, 41), (300, 51), (10, 601), (1, 3)])
def test_decode_undoes_encode_whatever_the_count(size, count):
  support = Support(size, count)
  inside = SCALARS[np.abs(squash(SCALARS)) < size]
  found = support.decode(jnp.log(support.encode(jnp.asarray(inside))))
  np.testing.assert_allclose(found, inside, rtol=1e-3, atol=1e-3)


def test_uniform_logits_are_zero():
  """A head that claims nothing has value 0."""
  assert abs(float(Support(300).decode(jnp.zeros(601)))) < 1e-4


def test_decode_has_a_gradient_everywhere():
  gradient = jax.grad(lambda x: Support(5).decode(x))(jnp.zeros(11))
  assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
