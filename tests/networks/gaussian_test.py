"""HL-Gauss, against the normal distribution's table and two-hot targets."""

import jax.numpy as jnp
import numpy as np

from muzero_jax.networks.gaussian import Gaussian
from muzero_jax.networks.scalars import Support, transform


def test_histogram_by_hand():
  """Around 0 with a standard deviation of one bin: the shares within 1/2, 3/2 and 5/2 standard
  deviations are 0.3829, 0.8664 and 0.9876, and the support -2 .. 2 ends there.
  """
  found = Gaussian(2, sigma=1.0).encode(jnp.zeros(2))
  side = [(0.98758 - 0.86639) / 2, (0.86639 - 0.38292) / 2]
  by_hand = np.array([*side, 0.38292, *side[::-1]]) / 0.98758
  np.testing.assert_allclose(found, np.tile(by_hand, (2, 1)), atol=2e-5)


def test_standard_deviations_are_in_bins():
  """Bins of half the width have a histogram of half the width, in units of the scalar."""
  coarse = Gaussian(2, sigma=0.75).encode(jnp.zeros(1))[0]
  fine = Gaussian(2, 9, sigma=0.75).encode(jnp.zeros(1))[0]
  np.testing.assert_allclose(fine[2:7], coarse, atol=1e-3)


def test_decoding_gives_the_scalar_back():
  """Away from the ends of the support, for one-dimensional inputs and others."""
  support = Gaussian(10, 41)
  x = jnp.linspace(-20, 20, 42).reshape(6, 7)
  found = support.decode(jnp.log(support.encode(x) + 1e-30))
  np.testing.assert_allclose(found, x, atol=2e-3)
  assert support.encode(jnp.float32(1)).shape == (41,)


def test_beyond_the_support_the_last_bin_is_likeliest():
  found = np.asarray(Gaussian(2).encode(jnp.asarray([1e9, -1e9])))
  assert found.argmax(-1).tolist() == [4, 0]
  np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-6)


def test_a_narrow_gaussian_is_the_nearest_bin():
  x = jnp.asarray([3.0])  # h(3) = 1.003
  assert float(transform(x)[0]) > 1
  narrow, two = Gaussian(2, sigma=0.1).encode(x), Support(2).encode(x)
  np.testing.assert_allclose(narrow, two, atol=0.01)
