"""Bisection on functions whose roots are known."""

import jax.numpy as jnp
import numpy as np

from muzero_jax.search.bisection import bisect


def test_roots_of_several_functions_at_once():
  """x^2 = 2, 3 and 4, between 0 and 5; after two halvings only the quarter is known: the root of 2
  lies in 1.25 .. 2.5, of which the middle is 1.875.
  """
  squares = jnp.array([2.0, 3.0, 4.0])
  low, high = jnp.zeros(3), jnp.full(3, 5.0)
  found = bisect(lambda x: x * x < squares, low, high, 30)
  np.testing.assert_allclose(found, np.sqrt([2, 3, 4]), rtol=1e-6)
  assert bisect(lambda x: x * x < squares, low, high, 2)[0] == 1.875
