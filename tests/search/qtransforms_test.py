"""From Q to scores, on trees worked by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.search import qtransforms
from muzero_jax.search.qtransforms import ExtraData, puct_over_tree
from muzero_jax.types import Statistics
from tests.search.common import statistics, tree_of

A = 4
DISCOUNT = 0.9


def small_tree(scale=1.0):
  """Root edges: Q = 1 + 0.5 * 2 = 2, and 0 + 0.5 * -4 = -2; below the first: Q = 4 + 0 = 4. The
  other edges are unvisited, though they hold 100. Nodes say that they are worth 7, -1 and 1
  themselves; the root's prior is 1/2, 1/4, 1/4."""
  return tree_of(
    visits=[[2, 1, 0], [1, 0, 0], [0, 0, 0]],
    rewards=[[1, 0, 100], [4, 100, 0], [0, 0, 0]],
    values=[[2, -4, 0], [0, 0, 100], [100, 0, 0]],
    discount=0.5,
    raw=[7, -1, 1],
    prior=[[0.5, 0.25, 0.25], [1 / 3] * 3, [1 / 3] * 3],
    extra_data=ExtraData(jnp.zeros(3), jnp.float32(scale)),
  )


def of_nodes(transform, tree, **settings):
  """Its scores at each of the three nodes."""
  return [np.asarray(transform(tree, jnp.int32(node), **settings)) for node in range(3)]


def close(found, expected):
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_completed_q_by_hand():
  """The root: the visited weigh 1/2 * 2 - 1/4 * 2 = 1/2 of a prior of 3/4, so 2/3; three visits of
  that and once the node's own 7: (7 + 3 * 2/3) / 4 = 9/4. Below: (-1 + 1 * 4) / 2 = 3/2. Without
  visits a node is worth what it says, 1."""
  tree = small_tree()
  close([qtransforms.mixed_value(tree, jnp.int32(node)) for node in range(3)], [9 / 4, 3 / 2, 1])
  close(of_nodes(qtransforms.completed_q, tree), [[2, -2, 9 / 4], [4, 3 / 2, 3 / 2], [1, 1, 1]])


@pytest.mark.parametrize(
  ("policy", "value"),
  [
    ([0.5, 0.25, 0.25], 17 / 16),  # 1 - 1/2 + 9/16
    ([0, 0, 1], 9 / 4),
    (
      [2 / 3, 1 / 3, 0],
      2 / 3,
    ),  # as often as they were visited: the mean of Q over visits, (2 * 2 - 2) / 3
  ],
)
def test_a_policys_value_is_what_its_actions_are_worth(policy, value):
  """Not the mean over visits with the root's own 7 in it: (7 + 2 * 2 - 2) / 4 = 9/4, whatever the
  policy."""
  batch = jax.tree.map(lambda x: x[None], small_tree())
  found, q = qtransforms.improved_value(batch, jnp.array([policy], jnp.float32))
  close(found, [value])
  close(q, [[2, -2, 9 / 4]])


def test_puct_over_the_tree_by_hand():
  """Extremes of the tree: -2 and 4. Root: (2 + 2) / 6 = 2/3, 0; below: (4 + 2) / 6 = 1. Among
  siblings 2 would be 1."""
  zero = of_nodes(puct_over_tree, small_tree(), epsilon=0.02, unvisited="zero")
  close(zero, [[2 / 3, 0, 0], [1, 0, 0], [0, 0, 0]])


def test_unvisited_children_score_the_mean():
  """At the root the mean of the visited: (2 - 2) / 2 = 0, so (0 + 2) / 6 = 1/3. Below it the node's
  own value counts as one more: (4 - 1) / 2 = 3/2, so 7/12; where nothing was visited it is all
  there is: (1 + 2) / 6 = 1/2. It is the default."""
  close(
    of_nodes(puct_over_tree, small_tree(), epsilon=0.02),
    [[2 / 3, 0, 1 / 3], [1, 7 / 12, 7 / 12], [1 / 2] * 3],
  )


def test_unvisited_children_score_at_most_1_and_at_least_0():
  """A node may say of itself what lies outside of the tree's extremes."""
  for own, score in ((50.0, 1.0), (-50.0, 0.0)):
    tree = small_tree().replace(raw_values=jnp.array([7, -1, own]))
    close(puct_over_tree(tree, jnp.int32(2), epsilon=0.02), [score] * 3)


def test_a_small_spread_is_not_stretched():
  """0.50 and 0.51 differ by half of the 0.02 below which differences count as noise: 0 and 1/2, and
  not 0 and 1, as they would by MuZero's paper. So does the unvisited third, at their mean: 1/4. A
  spread of 0.04 is stretched."""
  for high, expected in ((0.51, [0, 1 / 2, 1 / 4]), (0.54, [0, 1, 1 / 2])):
    tree = tree_of([[1, 1, 0]], [[0.5, high, 0]], np.zeros((1, 3)), 1.0)
    np.testing.assert_allclose(
      puct_over_tree(tree, jnp.int32(0), epsilon=0.02), expected, atol=1e-4
    )


class MinMaxStats:
  """The smallest and largest Q of a tree, as MuZero's paper has them (appendix B, eq. 5)."""

  def __init__(self):
    self.minimum, self.maximum = float("inf"), -float("inf")

  def update(self, value):
    self.minimum, self.maximum = min(self.minimum, value), max(self.maximum, value)

  def normalize(self, value):
    return (
      (value - self.minimum) / (self.maximum - self.minimum)
      if self.maximum > self.minimum
      else value
    )


def test_puct_over_the_tree_is_muzeros_min_max():
  """Against plain Python on a random tree; negative Q, unvisited edges and nodes without children
  included."""
  random = np.random.RandomState(0)
  visits = random.randint(0, 3, (6, A))
  visits[4] = 0
  rewards, values = random.randn(6, A), 10 * random.randn(6, A)
  stats = MinMaxStats()
  for i, a in zip(*visits.nonzero(), strict=True):
    stats.update(rewards[i, a] + DISCOUNT * values[i, a])
  tree = tree_of(visits, rewards, values, DISCOUNT)
  for i in range(6):
    expected = [
      stats.normalize(rewards[i, a] + DISCOUNT * values[i, a]) if visits[i, a] else 0.0
      for a in range(A)
    ]
    np.testing.assert_allclose(
      puct_over_tree(tree, jnp.int32(i), epsilon=1e-8, unvisited="zero"), expected, atol=1e-5
    )


@pytest.mark.parametrize("unvisited", ["mean", "zero"])
@pytest.mark.parametrize("visits", [np.zeros((3, A)), np.eye(3, A)])
def test_puct_over_the_tree_without_extremes(visits, unvisited):
  """Nothing visited, or all Q the same (7): finite zeros, no 0 / 0."""
  tree = tree_of(visits, np.full((3, A), 7.0), np.zeros((3, A)), DISCOUNT)
  scores = puct_over_tree(tree, jnp.int32(0), epsilon=0.02, unvisited=unvisited)
  np.testing.assert_array_equal(scores, np.zeros(A))


SIGMA = dict(value_scale=0.1, visit_offset=50.0)


def test_sigma_over_the_tree_by_hand():
  """Completed Q less the node's value, over the tree's spread of 6. Root: 2 - 9/4, -2 - 9/4 and 0
  are -1/24, -17/24 and 0, times 0.1 * (50 + 2). Below: (4 - 3/2) / 6 = 5/12, times 0.1 * (50 + 1).
  A floor of 12 halves all of it."""
  expected = np.array([[-5.2 / 24, -5.2 * 17 / 24, 0], [5.1 * 5 / 12, 0, 0], [0, 0, 0]])
  close(of_nodes(qtransforms.GUMBEL["tree"], small_tree(), epsilon=0.02, **SIGMA), expected)
  close(of_nodes(qtransforms.GUMBEL["tree"], small_tree(), epsilon=12.0, **SIGMA), expected / 2)


def test_sigma_over_the_tree_before_any_visit():
  tree = tree_of(np.zeros((1, A)), np.zeros((1, A)), np.zeros((1, A)), DISCOUNT)
  np.testing.assert_array_equal(
    qtransforms.GUMBEL["tree"](tree, jnp.int32(0), epsilon=0.02, **SIGMA), np.zeros(A)
  )


@pytest.mark.parametrize("kind", ["advantage", "skill"])
def test_sigma_of_advantages_by_hand(kind):
  """Advantages -1/4, -17/4, 0 and 5/2, 0, 0. Over 1/2: -1/2, at least -1, and at most 1; over 10:
  small, and none is cut."""
  transform = qtransforms.GUMBEL[kind]
  close(
    of_nodes(transform, small_tree(0.5), epsilon=0.02, **SIGMA),
    [[-1 / 2, -1, 0], [1, 0, 0], [0, 0, 0]],
  )
  close(
    of_nodes(transform, small_tree(10.0), epsilon=0.02, **SIGMA),
    [[-0.025, -0.425, 0], [0.25, 0, 0], [0, 0, 0]],
  )


@pytest.mark.parametrize(
  ("kind", "skill", "expected"),
  [
    ("advantage", 0.25, 2.0),
    ("advantage", 0.0, 2.0),
    ("skill", 0.25, 8.0),  # 2 / 0.25
    ("skill", 3.0, 2.0),  # no more than all of an advantage is believed
    ("skill", 0.0, 2000.0),  # 2 / 0.001
    ("skill", -1.0, 2000.0),
  ],
)
def test_advantages_are_measured_by_the_error_of_values(kind, skill, expected):
  np.testing.assert_allclose(
    qtransforms.scale(kind, statistics(error=2.0, skill=skill)), expected, rtol=1e-5
  )


def test_advantages_before_anything_was_learned():
  """An error of 1, and no skill: a search changes the prior by nothing much. An error of 0 is no
  division by 0."""
  none = Statistics(*jnp.zeros(4))
  assert float(qtransforms.scale("advantage", none)) == 1.0
  np.testing.assert_allclose(qtransforms.scale("skill", none), 1000.0, rtol=1e-5)
  assert float(qtransforms.scale("advantage", statistics(error=0.0))) > 0


def test_statistics_by_hand():
  """Three batches' worth of squared errors is 12: 4 each, so 2. Products 3 over squares 6: a half
  of an advantage came true."""
  numbers = Statistics(
    weight=jnp.float32(3), errors=jnp.float32(12), squares=jnp.float32(6), products=jnp.float32(3)
  )
  assert float(numbers.error) == 2.0
  assert float(numbers.skill) == 0.5
  none = Statistics(*jnp.zeros(4))
  assert (float(none.error), float(none.skill)) == (1.0, 0.0)
