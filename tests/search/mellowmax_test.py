"""Mellowmax and its policy, against numbers worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.search import mellowmax as policies
from muzero_jax.targets.q import mellowmax

LN2, LN3 = float(np.log(2)), float(np.log(3))
POLICY = jax.jit(policies.policy)


def test_of_two_actions_by_hand():
  """Q = 0, ln 3 and omega = 1: mm = ln((1 + 3) / 2) = ln 2. The policy p on the second action has
  that expectation: p ln 3 = ln 2. As softmax(beta Q), its odds are e^(beta ln 3) = p / (1 - p).
  """
  q = jnp.array([0, LN3])
  np.testing.assert_allclose(mellowmax(q, 1.0), LN2, rtol=1e-6)
  best = LN2 / LN3
  np.testing.assert_allclose(POLICY(q, 1.0), [1 - best, best], rtol=1e-5)
  beta = np.log(best / (1 - best)) / LN3
  np.testing.assert_allclose(jax.jit(policies.inverse_temperature)(q, 1.0), beta, rtol=1e-5)


def test_the_unit_of_return_does_not_matter():
  """Q ten times as large, omega a tenth: the same policy. All Q higher by 5: the same policy, and
  mm higher by 5.
  """
  q = jnp.array([[0.3, -0.2, 1.0, 0.9]])
  expected = POLICY(q, 2.0)
  np.testing.assert_allclose(POLICY(10 * q, 0.2), expected, rtol=1e-5)
  np.testing.assert_allclose(POLICY(q + 5, 2.0), expected, rtol=1e-4)
  np.testing.assert_allclose(mellowmax(q + 5, 2.0), mellowmax(q, 2.0) + 5, rtol=1e-6)


def test_the_policy_is_the_most_random_one_with_that_expectation():
  """Of three actions, the policies with the same expectation of Q lie on a line."""
  q = np.array([0.0, 0.5, 2.0])
  policy = np.asarray(POLICY(jnp.asarray(q), 3.0), np.float64)
  np.testing.assert_allclose(policy @ q, mellowmax(jnp.asarray(q), 3.0), rtol=1e-5)
  along = np.cross(np.ones(3), q)  # neither the sum nor the expectation changes

  def entropy(p):
    return -np.sum(p * np.log(p))

  for step in (-0.01, 0.01):
    assert entropy(policy + step * along) < entropy(policy)


@pytest.mark.parametrize(
  ("q", "omega", "value", "policy"),
  [
    ([1, 3, 2], 1e-4, 2.0, [1 / 3] * 3),  # the mean
    ([1, 3, 2], 1e4, 3.0, [0, 1, 0]),  # the maximum
    ([1000, -1000, 0], 1e3, 1000.0, [1, 0, 0]),
    ([2, 2, 2], 10.0, 2.0, [1 / 3] * 3),
    ([2, 2, -9], 1e3, 2.0, [0.5, 0.5, 0]),
  ],
)
def test_limits(q, omega, value, policy):
  q = jnp.array([q], jnp.float32)
  np.testing.assert_allclose(mellowmax(q, omega), [value], atol=2e-3)
  np.testing.assert_allclose(POLICY(q, omega), [policy], atol=2e-3)
