"""The Gumbel search against numbers worked by hand."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.search.gumbel import Gumbel
from tests.search.common import (
  BANDIT,
  DISCOUNT,
  KEY,
  SEARCHES,
  assert_counts,
  constant_model,
  equal_roots,
  paying,
  rewarded_bandit,
  run,
)


def test_gumbel_noise_samples_from_the_prior():
  """Noise ~ Gumbel(0, 1): where all actions are worth the same, the survivor is a sample of the
  prior.
  """
  prior = np.array([0.5, 0.3, 0.15, 0.05])
  assert_counts(
    run(Gumbel(constant_model(0.0), DISCOUNT, 8), KEY, equal_roots(4000, np.log(prior))).action,
    prior,
  )


def test_a_prior_to_a_power_below_1_is_forgotten():
  """Odds of 16 to 1 to the power 1/2 are 4 to 1 where all actions are worth the same; the actions
  taken follow. A difference of Q of epsilon, 51 visits' worth of 0.1 each, that stays for ever adds
  up to 5.1 / (1 - 1/2) = 10.2 of logits, and not without bound.
  """
  search = Gumbel(constant_model(0.0, 2), DISCOUNT, 2, prior_exponent=0.5)
  decision = run(search, KEY, equal_roots(4000, np.log([16.0, 1.0])))
  np.testing.assert_allclose(decision.policy, np.tile([0.8, 0.2], (4000, 1)), rtol=1e-5)
  assert_counts(decision.action, [0.8, 0.2])
  search, logits = (
    Gumbel(BANDIT, DISCOUNT, 3, epsilon=1e-3, prior_exponent=0.5, gumbel_scale=0.0),
    jnp.zeros((1, 3)),
  )
  for _ in range(30):
    policy = run(search, KEY, equal_roots(1, logits[0]), [1.0, 0.0, 0.0]).policy
    logits = jnp.log(policy)
  np.testing.assert_allclose(logits[0, 0] - logits[0, 1], 10.2, rtol=1e-3)


def test_gumbels_policy_target_has_no_noise():
  """The target comes from logits and Q. Where every action is visited and every Q the same, it is
  the prior, whatever the noise.
  """
  prior = np.array([0.5, 0.3, 0.15, 0.05], np.float32)
  policies = run(
    Gumbel(constant_model(0.0), DISCOUNT, 8), KEY, equal_roots(4000, np.log(prior))
  ).policy
  np.testing.assert_allclose(policies, np.broadcast_to(prior, policies.shape), rtol=1e-5)


def test_gumbel_evaluates_with_the_best_of_logits_and_q():
  """8 simulations try all 3 actions. Rewards 0 and 1 stretch Q to 0 and 1, times at least c_visit *
  c_scale = 5: a reward outweighs log-odds of 3, but not of 30.
  """
  search = dataclasses.replace(SEARCHES["gumbel"], model=BANDIT).for_evaluation()
  for odds, best in ((0.0, 2), (3.0, 2), (30.0, 0)):
    np.testing.assert_array_equal(
      run(search, KEY, equal_roots(4000, [odds, 0, 0]), [0, 0, 1]).action, best
    )


@pytest.mark.parametrize("tree", ["mctx", "batched", "rounds"])
def test_the_value_is_that_of_the_improved_policy(tree):
  """One action of six pays 1 and the root knows: it is worth 0.97. 8 simulations try all six, and
  the best two again. The mean over visits, (0.97 + 1 + 1) / 9 = 0.33, would teach the value that it
  is a third. The policy takes the best one almost always: its logit is 0.1 * (50 + 2) = 5.2 above
  the others', so it has e^5.2 / (e^5.2 + 5) = 181.272 / 186.272 = 0.97316."""
  search = Gumbel(rewarded_bandit(6), DISCOUNT, 8, tree=tree)
  decision = run(search, KEY, equal_roots(20, np.zeros(6), value=0.97), paying(1, 0, 0, 0, 0, 0))
  np.testing.assert_allclose(decision.value, 0.97316, atol=1e-4)
  np.testing.assert_allclose(
    decision.advantage, np.where(decision.action == 0, 1, 0) - 0.97316, atol=1e-4
  )


@pytest.mark.parametrize("tree", ["mctx", "batched", "rounds"])
@pytest.mark.parametrize(
  ("qtransform", "error", "skill", "nats"),
  [
    ("advantage", 1.0, 0.0, 1.0),
    ("advantage", 2.0, 1.0, 0.5),
    ("advantage", 0.1, 0.0, 2.0),  # advantages of 7/9 and -2/9 over 0.1 are 1 and -1
    ("skill", 0.1, 0.1, 1.0),  # 0.1 / 0.1
    ("skill", 1.0, 0.0, 0.0),  # noise, as far as is known
  ],
)
def test_gumbels_q_is_measured_by_the_error_of_values(tree, qtransform, error, skill, nats):
  """Q is 1, 0, 0, 0: the first action's log-odds rise by 1 / scale, whatever the visits. Without
  skill the policy is the prior."""
  search = Gumbel(rewarded_bandit(4), DISCOUNT, 8, qtransform=qtransform, tree=tree)
  policy = run(
    search, KEY, equal_roots(8, np.zeros(4)), paying(1, 0, 0, 0, error=error, skill=skill)
  ).policy
  odds = np.exp([nats, 0, 0, 0])
  np.testing.assert_allclose(
    policy, np.tile(odds / odds.sum(), (8, 1)), atol=1e-5 if nats else 1e-3
  )


def test_gumbels_q_over_the_tree():
  """Two actions pay 1 and 0, every one after them 8, γ 1/2; each is tried twice. Values of the
  children: (0 + 8) / 2 = 4, so Q = 1 + 4 / 2 = 3, and 2. By the root's own extremes, 1 apart, the
  first is 0.1 * (50 + 2) = 5.2 above; but the tree's are 2 and 8, so it is a sixth of that. The
  floor of 12 makes it a twelfth."""

  def step(params, hidden, action):
    return hidden + 1, jnp.where(hidden[:, :1] == 0, params["rewards"][action][:, None], 8.0)

  model = rewarded_bandit(2)._replace(step=step)
  for qtransform, epsilon, nats in (
    ("node", 0.02, 5.2),
    ("tree", 0.02, 5.2 / 6),
    ("tree", 12.0, 5.2 / 12),
  ):
    policy = run(
      Gumbel(model, 0.5, 4, qtransform=qtransform, epsilon=epsilon),
      KEY,
      equal_roots(8, np.zeros(2)),
      paying(1, 0),
    ).policy
    np.testing.assert_allclose(np.log(policy[:, 0] / policy[:, 1]), nats, rtol=1e-4)


def test_sampling_takes_actions_as_often_as_the_policy_says():
  """Q is 1, 0, 0 and all are visited: odds of e to 1 to 1, whatever the noise of the search."""
  shares = np.exp([1.0, 0, 0]) / (np.e + 2)
  search = Gumbel(rewarded_bandit(3), DISCOUNT, 6, qtransform="advantage", acting="sample")
  decision = run(search, KEY, equal_roots(4000, np.zeros(3)), paying(1, 0, 0))
  np.testing.assert_allclose(decision.policy, np.tile(shares, (4000, 1)), rtol=1e-4)
  assert_counts(decision.action, shares)
  np.testing.assert_allclose(decision.log_prob, np.log(shares)[decision.action], rtol=1e-4)
  greedy = run(search.for_evaluation(), KEY, equal_roots(4000, np.zeros(3)), paying(1, 0, 0))
  np.testing.assert_array_equal(greedy.action, 0)


def test_sampling_takes_actions_that_were_not_considered():
  """One action is considered, pays 1, and the root's own value is 0: after two visits the others
  stand at 2/3. Over an error of 1/3 it is 1 nat above them: e / (e + 2) = 0.576. That is how often
  it is taken; the survivor of the halving it would be always."""
  best = np.e / (np.e + 2)
  search = Gumbel(
    rewarded_bandit(3), DISCOUNT, 2, max_considered=1, qtransform="advantage", acting="sample"
  )
  params, root = paying(1, 1, 1, error=1 / 3), equal_roots(4000, np.zeros(3))
  decision = run(search, KEY, root, params)
  np.testing.assert_allclose(decision.policy.max(-1), best, rtol=1e-4)
  chosen = decision.policy[np.arange(4000), decision.action]
  assert_counts((chosen > 0.5).astype(int), [1 - best, best])
  np.testing.assert_allclose(decision.log_prob, np.log(chosen), rtol=1e-5)
  for other in (search.for_evaluation(), dataclasses.replace(search, acting="halving")):
    decision = run(other, KEY, root, params)
    assert (decision.policy[np.arange(4000), decision.action] > 0.5).all()
