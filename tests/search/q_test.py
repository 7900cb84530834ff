"""Acting by Q alone. The model has no dynamics and no other heads: nothing else may be called."""

import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.search.q import QSearch
from muzero_jax.types import QHead
from tests.search.common import KEY, assert_counts, equal_roots, plain, run

LN2, LN3 = float(np.log(2)), float(np.log(3))


def given(params, hidden):
  """The Q that the parameters are, in every state."""
  return jnp.tile(params[None, :, None], (hidden.shape[0], 1, 1))


MODEL = plain(None, None)._replace(q=QHead(given, lambda x: x[..., 0], lambda x, q: x[..., 0] - q))


def decide(search, q, size=4000):
  """Decisions with these Q in all of `size` states."""
  return run(search, KEY, equal_roots(size, np.zeros(len(q))), list(q))


def test_epsilon_greedy_by_hand():
  """Three of ten actions are random, one of them the best by chance. The policy is the greedy one,
  and so is its value; what was done has the probability that it was done with.
  """
  decision = decide(QSearch(MODEL, "epsilon", epsilon=0.3), [1, 3, 2])
  shares = np.array([0.1, 0.8, 0.1])
  assert_counts(decision.action, shares)
  np.testing.assert_allclose(decision.log_prob, np.log(shares)[decision.action], rtol=1e-5)
  np.testing.assert_array_equal(decision.policy, np.tile([0, 1, 0], (4000, 1)))
  np.testing.assert_array_equal(decision.value, np.full(4000, 3))
  np.testing.assert_array_equal(decision.advantage, np.array([-2, 0, -1])[decision.action])


def test_boltzmann_by_hand():
  """At a temperature of 1/2, Q = 0 and ln(3) / 2 have odds of 1 to 3."""
  decision = decide(QSearch(MODEL, "boltzmann", temperature=0.5), [0, LN3 / 2])
  assert_counts(decision.action, [0.25, 0.75])
  np.testing.assert_allclose(decision.policy[0], [0.25, 0.75], rtol=1e-5)
  np.testing.assert_allclose(decision.value[0], 0.75 * LN3 / 2, rtol=1e-5)
  np.testing.assert_allclose(decision.log_prob, np.log([0.25, 0.75])[decision.action], rtol=1e-5)


def test_mellowmax_by_hand():
  """omega = 2; twice Q is 0 and ln 3: mm is ln(2) / 2, and so is the policy's expectation."""
  decision = decide(QSearch(MODEL, "mellowmax", temperature=0.5), [0, LN3 / 2])
  shares = [1 - LN2 / LN3, LN2 / LN3]
  assert_counts(decision.action, shares)
  np.testing.assert_allclose(decision.policy[0], shares, rtol=1e-5)
  np.testing.assert_allclose(decision.value[0], LN2 / 2, rtol=1e-5)


@pytest.mark.parametrize("acting", ["epsilon", "boltzmann", "mellowmax"])
def test_evaluation_takes_the_best_action(acting):
  """Of equal ones any: as before the first gradient step, when all are."""
  search = QSearch(MODEL, acting, epsilon=0.5, temperature=9.0).for_evaluation()
  assert_counts(decide(search, [1, 3, 2]).action, [0, 1, 0])
  assert_counts(decide(search, [3, 1, 3]).action, [0.5, 0, 0.5])
