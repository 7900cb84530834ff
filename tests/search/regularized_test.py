"""The regularized policy, against numbers worked by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.search import regularized
from muzero_jax.search.puct import Puct
from tests.search.common import BANDIT, DISCOUNT, KEY, assert_counts, equal_roots, run, tree_of

policy = jax.jit(regularized.regularized)


@pytest.mark.parametrize(
  ("prior", "q", "weight", "expected"),
  [
    # 1/2 / (x - 1) + 1/2 / x = 1, so x^2 - 2x + 1/2 = 0: x = 1 + sqrt(1/2)
    ([0.5, 0.5], [1.0, 0.0], 1.0, [np.sqrt(0.5), 1 - np.sqrt(0.5)]),
    # the same with all q 5 higher, and with q and weight times 3
    ([0.5, 0.5], [6.0, 5.0], 1.0, [np.sqrt(0.5), 1 - np.sqrt(0.5)]),
    ([0.5, 0.5], [3.0, 0.0], 3.0, [np.sqrt(0.5), 1 - np.sqrt(0.5)]),
    # the odds are those of prior / (x - q): with x = 2, 1/4 / 1 and 3/2 / 2 sum to 1
    ([0.25 / 1.75, 1.5 / 1.75], [1.0, 0.0], 1.75, [0.25, 0.75]),
    ([0.2, 0.3, 0.5], [4.0, 4.0, 4.0], 0.1, [0.2, 0.3, 0.5]),  # nothing to choose
    ([0.2, 0.3, 0.5], [0.0, 1.0, 0.5], 1e6, [0.2, 0.3, 0.5]),  # nothing but the prior
    ([0.2, 0.3, 0.5], [0.0, 1.0, 0.5], 1e-6, [0, 1, 0]),  # nothing but q
    ([0.5, 0.5, 0.0], [1.0, 0.0, 9.0], 1.0, [np.sqrt(0.5), 1 - np.sqrt(0.5), 0]),  # impossible
  ],
)
def test_by_hand(prior, q, weight, expected):
  found = policy(jnp.array(prior), jnp.array(q), jnp.float32(weight))
  np.testing.assert_allclose(found, expected, rtol=2e-6, atol=3e-6)


def test_no_policy_is_better():
  """Of 2,000 random policies and some close by, none has a higher q . y - weight KL(prior || y)."""
  random = np.random.RandomState(0)
  prior, q, weight = random.dirichlet(np.ones(4)), random.randn(4), 0.3

  def objective(y):
    return y @ q - weight * np.sum(prior * np.log(prior / y), -1)

  found = np.asarray(policy(jnp.array(prior), jnp.array(q), jnp.float32(weight)), np.float64)
  near = found * np.exp(0.05 * random.randn(1000, 4))
  others = np.concatenate([random.dirichlet(np.ones(4), 2000), near / near.sum(-1, keepdims=True)])
  assert (objective(others) < objective(found / found.sum()) + 1e-9).all()


def test_the_weight_is_pucts():
  """A root that was visited 8 times beside its own, 4 actions: 5/4 sqrt(9) / (4 + 8), where a huge
  `pb_c_base` leaves the constant as it is."""
  tree = dataclasses.replace(
    tree_of([[2, 2, 2, 2]], [[0] * 4], [[0] * 4], 1.0), node_visits=jnp.array([9])
  )
  found = regularized.weight(tree, jnp.int32(0), pb_c_init=1.25, pb_c_base=1e9)
  np.testing.assert_allclose(found, 1.25 * 3 / 12, rtol=1e-6)


Q, PRIOR = np.array([0.0, 0.5, 1.0]), np.array([0.5, 0.3, 0.2])
HUGE = 1e9  # `pb_c_base` that leaves the constant of exploration as it is


def by_formula(simulations):
  factor = 1.25 * np.sqrt(simulations + 1) / (3 + simulations)
  return np.asarray(policy(jnp.array(PRIOR), jnp.array(Q), jnp.float32(factor)))


@pytest.mark.parametrize("simulations", [3, 30, 300])
def test_pucts_visits_approach_it(simulations):
  """Proposition 2: (1 + visits) / (A + N) differ from it by (A - 1) / (A + N) at most. PUCT is
  written out here; its Q are known from the beginning."""
  visits = np.zeros(3)
  for step in range(simulations):
    visits[np.argmax(Q + 1.25 * PRIOR * np.sqrt(step + 1) / (1 + visits))] += 1
  found = np.abs((1 + visits) / (3 + simulations) - by_formula(simulations))
  assert found.max() <= 2 / (3 + simulations)


def test_an_action_of_the_tree_is_a_sample_from_it():
  """At a node visited 6 times beside its own; scores are Q."""
  tree = dataclasses.replace(
    tree_of([[2, 2, 2]], [Q], [[0] * 3], 1.0, prior=[PRIOR]), node_visits=jnp.array([7])
  )
  select = functools.partial(
    regularized.sampled_action,
    qtransform=lambda tree, node: tree.qvalues(node),
    pb_c_init=1.25,
    pb_c_base=HUGE,
  )
  keys = jax.random.split(KEY, 4000)
  found = jax.jit(jax.vmap(lambda key: select(key, tree, jnp.int32(0), 0)))(keys)
  assert_counts(np.asarray(found), by_formula(6))


def searched(improvement):
  """12 simulations, with noise; Q are rewards, and their extremes scale them to what they are."""
  return Puct(BANDIT, DISCOUNT, 12, improvement=improvement, pb_c_base=HUGE)


ROOTS = equal_roots(400, np.log(PRIOR))


def test_target_and_action():
  """Without noise: the target is what the formula says, which 12 visits cannot be, and actions are
  samples from it."""
  decision = run(searched("both").for_reanalysis(), KEY, ROOTS, Q)
  exact = by_formula(12)
  np.testing.assert_allclose(decision.policy, np.tile(exact, (400, 1)), rtol=1e-5)
  assert_counts(decision.action, exact)
  np.testing.assert_allclose(decision.log_prob, np.log(exact)[decision.action], rtol=1e-5)
  np.testing.assert_allclose(decision.value, exact @ Q, rtol=1e-5)


def test_what_is_learned_has_no_noise():
  """Roots whose noise is their own learn the same, unless it kept all visits from an action. With
  `learn` the action follows the visits: its probability is some twelfths."""
  decision = run(searched("learn"), KEY, ROOTS, Q)
  same = np.isclose(decision.policy, by_formula(12), rtol=1e-5).all(-1)
  assert same.mean() > 0.5
  twelfths = 12 * np.exp(decision.log_prob)
  np.testing.assert_allclose(twelfths, np.round(twelfths), atol=1e-4)
  assert len(np.unique(np.round(twelfths))) > 3


def test_a_tree_of_samples():
  """PUCT without noise starts with the likeliest action; a sample can be any. After one simulation
  nothing is known to choose by, so that the policy is the prior. Its value tells what was visited:
  r of this action, and of the others (0 + r) / 2, half of it and of the root's own 0.
  """
  search = dataclasses.replace(searched("all").for_reanalysis(), num_simulations=1)
  value = run(search, KEY, ROOTS, Q).value
  expected = PRIOR * Q + (1 - PRIOR) * Q / 2
  visited = np.argmin(np.abs(value[:, None] - expected), -1)
  np.testing.assert_allclose(value, expected[visited], rtol=1e-5)
  assert_counts(visited, PRIOR)
