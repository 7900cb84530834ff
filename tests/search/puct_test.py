"""PUCT against numbers worked by hand."""

import dataclasses

import numpy as np
import pytest

from muzero_jax.search.puct import Puct
from tests.search.common import (
  BANDIT,
  DISCOUNT,
  KEY,
  ROOT,
  SEARCHES,
  SIZE,
  assert_counts,
  equal_roots,
  paying,
  rewarded_bandit,
  run,
)


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_pucts_target_is_the_visit_distribution_whatever_the_temperature(temperature):
  """Temperature acts on the action alone; `log_prob` is that of visits^(1 / temperature),
  normalized.
  """
  one = run(SEARCHES["puct"], KEY, ROOT)
  decision = run(dataclasses.replace(SEARCHES["puct"], temperature=temperature), KEY, ROOT)
  np.testing.assert_array_equal(decision.policy, one.policy)
  visits = decision.policy * 8  # 8 simulations: whole numbers
  np.testing.assert_allclose(visits, np.round(visits), atol=1e-5)
  best = visits == visits.max(-1, keepdims=True)
  powers = best if temperature == 0 else np.round(visits) ** (1 / temperature)
  behavior = powers / powers.sum(-1, keepdims=True)
  chosen = behavior[np.arange(SIZE), decision.action]
  assert (chosen > 0).all()
  np.testing.assert_allclose(decision.log_prob, np.log(chosen), rtol=1e-4, atol=1e-5)


def test_pucts_temperature_acts_on_the_action():
  """Equal roots without noise: at temperature 1 each action is taken as often as it was visited."""
  search = Puct(BANDIT, DISCOUNT, 9).for_reanalysis()
  decision = run(search, KEY, equal_roots(4000, np.log([0.5, 0.3, 0.2])), [0, 0.1, 1])
  shares = decision.policy[0]
  assert (decision.policy == shares).all() and 0 < shares[1] < 1
  assert_counts(decision.action, shares)


@pytest.mark.parametrize("tree", ["mctx", "batched"])
def test_pucts_value_is_the_mean_of_q_over_visits(tree):
  """Q is 1 for the action that pays and 0 for the others: the share of visits. The root's own 0.97
  is no part of it."""
  search = Puct(rewarded_bandit(6), DISCOUNT, 8, tree=tree)
  decision = run(search, KEY, equal_roots(20, np.zeros(6), value=0.97), paying(1, 0, 0, 0, 0, 0))
  visits = decision.policy[:, 0] * 8
  np.testing.assert_allclose(visits, np.round(visits), atol=1e-5)
  assert (0 < visits).all() and (visits < 8).all()
  np.testing.assert_allclose(decision.value, visits / 8, rtol=1e-6)
  np.testing.assert_allclose(
    decision.advantage, np.where(decision.action == 0, 1, 0) - visits / 8, atol=1e-6
  )
