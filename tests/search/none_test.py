"""Deciding without a tree, against numbers worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.search.none import NoSearch
from muzero_jax.types import Root
from tests.search.common import (
  BANDIT,
  DISCOUNT,
  KEY,
  assert_counts,
  equal_roots,
  plain,
  run,
  statistics,
)


def cmpo(**settings):
  """Prior 1/2, 1/4, 1/4; rewards 0, 1, 0; the values behind are 2, 0, 4; discount 1/2."""
  rewards, values = jnp.array([0.0, 1.0, 0.0]), jnp.array([2.0, 0.0, 4.0])

  def step(params, hidden, action):
    return values[action][:, None] + hidden, rewards[action][:, None]

  model = plain(step, lambda params, hidden: (jnp.zeros((hidden.shape[0], 3)), hidden[:, :1]))
  logits = jnp.log(jnp.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]))
  # The second root's values are all 2 higher: every Q is 1 higher, and no advantage changes.
  return NoSearch(model, 0.5, **settings), Root(jnp.array([[0.0], [2.0]]), logits, jnp.zeros(2))


def test_no_search_improves_the_prior_as_cmpo():
  """Q = r + v / 2 = 1, 1, 2; the prior's expectation 1/2 + 1/4 + 1/2 = 5/4; advantages -1/4, -1/4,
  3/4; over a scale of 1/4: -1, -1, 3, clipped at 2: -1, -1, 2. Odds: 1/2 e^-1, 1/4 e^-1, 1/4 e^2.
  """
  search, root = cmpo(scale=0.25, clip=2.0)
  odds = np.array([0.5 * np.exp(-1), 0.25 * np.exp(-1), 0.25 * np.exp(2)])
  decision = run(search, KEY, root)
  np.testing.assert_allclose(decision.policy, np.tile(odds / odds.sum(), (2, 1)), rtol=1e-5)
  np.testing.assert_allclose(decision.value, [1.25, 2.25], rtol=1e-6)
  # Self-play samples from the prior, and says so.
  np.testing.assert_allclose(
    decision.log_prob, np.log(np.array([0.5, 0.25, 0.25]))[decision.action], rtol=1e-5
  )
  greedy = run(search.for_evaluation(), KEY, root)
  np.testing.assert_array_equal(greedy.action, [2, 2])
  np.testing.assert_allclose(greedy.log_prob, np.log(odds[2] / odds.sum()), rtol=1e-5)
  np.testing.assert_array_equal(greedy.policy, decision.policy)


@pytest.mark.parametrize(
  ("qtransform", "error", "skill", "logits"),
  [
    ("advantage", 0.5, 0.0, [-0.5, -0.5, 1.0]),  # 3/4 over 1/2, and at most 1
    ("skill", 0.5, 0.5, [-0.25, -0.25, 0.75]),  # over 1/2 / 1/2
    ("skill", 1.0, 0.0, [0, 0, 0]),  # over 1000
  ],
)
def test_no_search_measures_advantages_by_the_error_of_values(qtransform, error, skill, logits):
  """Advantages -1/4, -1/4, 3/4, as above; the settings `scale` and `clip` are not used. What was
  decided has its own advantage."""
  search, root = cmpo(scale=1e9, clip=9.0, qtransform=qtransform)
  odds = np.array([0.5, 0.25, 0.25]) * np.exp(logits)
  decision = run(search, KEY, root, {"statistics": statistics(error, skill)})
  np.testing.assert_allclose(
    decision.policy, np.tile(odds / odds.sum(), (2, 1)), atol=1e-3 if skill == 0 else 1e-5
  )
  np.testing.assert_allclose(decision.value, [1.25, 2.25], rtol=1e-6)
  np.testing.assert_allclose(
    decision.advantage, np.array([-0.25, -0.25, 0.75])[decision.action], atol=1e-6
  )


def test_no_search_samples_from_the_prior():
  prior = [0.5, 0.3, 0.2]
  assert_counts(
    run(NoSearch(BANDIT, DISCOUNT), KEY, equal_roots(4000, np.log(prior)), [0, 0, 9]).action, prior
  )
