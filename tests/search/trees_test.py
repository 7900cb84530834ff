"""Trees as plain arrays: against a tree worked by hand, and against mctx's own numbers."""

import json
import re
from xml.etree import ElementTree

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.networks.q import QHead
from muzero_jax.search import drawing, trees
from muzero_jax.search.equivalent import Classes, Equivalent
from muzero_jax.search.gumbel import Gumbel
from muzero_jax.search.hierarchy import Hierarchy, jumping
from muzero_jax.search.horizons import TwoHorizons
from muzero_jax.search.none import NoSearch
from muzero_jax.search.puct import Puct
from muzero_jax.search.q_prior import QPrior, with_q_prior
from muzero_jax.search.trees import SearchTree
from muzero_jax.types import JumpModel
from tests.search.common import NAMES, D, compiled, equal_roots, plain, run, tree_by_hand

STEP = plain(
  lambda params, hidden, action: (
    jnp.sin(hidden + action[:, None] + jnp.arange(D)[None]),
    jnp.cos(hidden[:, :1] * action[:, None]),
  ),
  lambda params, hidden: (jnp.sin(3 * hidden), jnp.tanh(hidden[:, :1])),
)


def test_a_tree_by_hand_replayed():
  tree = tree_by_hand()
  assert tree.simulations == 3 and tree.path(2) == [0, 1, 2] and tree.name(2) == "right"
  np.testing.assert_allclose(tree.q[1:], [3.75, 3.0, 1.0])
  assert list(tree.replay()) == [
    [(0, 1, 1.0)],
    [(1, 1, 4.0), (0, 2, 2.5)],
    [(2, 1, 8.0), (1, 2, 3.5), (0, 3, pytest.approx(8.5 / 3))],
    [(3, 1, 2.0), (0, 4, pytest.approx(9.5 / 4))],
  ]


@pytest.mark.parametrize("kind", [Gumbel, Puct])
def test_the_replay_ends_at_mctx_s_tree(kind):
  search = kind(STEP, 0.9, 6)
  roots = equal_roots(2, [0.1, 0.0, 0.3], 0.3)
  decision, branches = compiled(lambda: trees.decide(search, {}, jax.random.key(1), roots))
  tree = SearchTree.of(branches, decision, 1, 0.9, NAMES)
  visits, values = np.zeros(7), np.zeros(7)
  for node, count, value in (change for changes in tree.replay() for change in changes):
    visits[node], values[node] = count, value
  np.testing.assert_array_equal(visits, tree.visits)
  np.testing.assert_allclose(values, tree.value, atol=1e-5)
  assert tree.visits[0] == 7 and tree.root_prior.sum() == pytest.approx(1)
  again = SearchTree.from_dict(json.loads(json.dumps(tree.to_dict())))
  np.testing.assert_array_equal(again.parent, tree.parent)
  np.testing.assert_allclose(again.q, tree.q, rtol=1e-3, atol=1e-3)


def test_a_search_without_a_tree_has_none():
  roots = equal_roots(1, [0.0, 0.0, 0.0])
  decision, branches = jax.eval_shape(
    lambda key: trees.decide(NoSearch(STEP, 0.9), {}, key, roots), jax.random.key(0)
  )
  assert branches is None and decision.action.shape == (1,)


# Q prefers action 1; a macro action leads to where action 2 is likely.
WIDER = STEP._replace(
  q=QHead(lambda params, hidden: jnp.sin(hidden + jnp.array([[0.0, 2, 1]])), lambda q: q, None),
  jump=JumpModel(
    5,
    2,
    code=lambda params, actions: jnp.zeros((len(actions), 2)),
    prior=lambda params, hidden: hidden[:, :2],
    step=lambda params, hidden, macro: (jnp.cos(hidden + macro[:, :1]), hidden[:, :1]),
    reach=lambda params, hidden, goal: goal * jnp.array([[0.0, 0, 3]]),
  ),
)
BY_Q = with_q_prior(WIDER, 0.5)
PLANNER = Gumbel(jumping(WIDER), 0.8, 2)


def everything_around(search):
  """All searches around searches, with a generous tolerance for classes."""
  search = Hierarchy(search, PLANNER, BY_Q, 0.4)
  search = Equivalent(search, Classes(BY_Q, 0.9, 1.0))
  return TwoHorizons(QPrior(search, BY_Q), BY_Q)


AROUND = {
  "q_prior": lambda search: QPrior(search, BY_Q),
  "two_horizons": lambda search: TwoHorizons(search, BY_Q),
  "hierarchy": lambda search: Hierarchy(search, PLANNER, WIDER, 0.4),
  "equivalent": lambda search: Equivalent(search, Classes(BY_Q, 0.9, 1.0)),
  "everything": everything_around,
}


@pytest.mark.parametrize("name", AROUND)
def test_searches_around_others_have_the_tree_of_the_innermost(name):
  """The same decision as without asking for the tree."""
  search = AROUND[name](Gumbel(BY_Q, 0.9, 4)).for_evaluation()
  key, roots = jax.random.key(1), equal_roots(2, [0.1, 0.0, 0.3], 0.3)
  decision, branches = compiled(lambda: trees.decide(search, {}, key, roots))
  jax.tree.map(np.testing.assert_array_equal, decision, run(search, key, roots))
  tree = SearchTree.of(branches, decision, 0, 0.9)
  assert tree.simulations == 4 and tree.visits[0] == 5
  assert max(len(tree.path(node)) - 1 for node in tree.nodes) == decision.depth[0]
  assert SearchTree.from_dict(tree.to_dict()).policy.sum() == pytest.approx(1, abs=1e-3)


def test_what_a_search_around_a_search_changes_is_in_the_tree():
  """The Q head's prior, and the value that its model has at the root: tanh(0) = 0, not 0.3."""
  roots = equal_roots(1, [0.1, 0.0, 0.3], 0.3)

  def tree(search):
    return compiled(lambda: trees.decide(search, {}, jax.random.key(1), roots))[1]

  prior = tree(QPrior(Gumbel(BY_Q, 0.9, 2), BY_Q)).root_prior[0]
  np.testing.assert_allclose(prior, jax.nn.softmax(jnp.sin(jnp.array([0.0, 2, 1])) / 0.5), 1e-5)
  assert tree(Gumbel(BY_Q, 0.9, 2)).predicted[0, 0] == pytest.approx(0.3)
  assert tree(TwoHorizons(Gumbel(BY_Q, 0.9, 2), BY_Q)).predicted[0, 0] == 0


def test_in_a_tree_the_first_action_of_a_class_stands_for_it():
  """All actions are alike: the first has all of the prior and every visit; the policy is shared."""
  search = Equivalent(Gumbel(STEP, 0.9, 4), Classes(STEP, 0.9, 99.0))
  roots = equal_roots(8, [0.0, 0.0, 0.0])
  decision, branches = compiled(lambda: trees.decide(search, {}, jax.random.key(1), roots))
  np.testing.assert_allclose(branches.root_prior, np.tile([1.0, 0, 0], (8, 1)))
  np.testing.assert_array_equal(branches.action[branches.parent == 0], 0)
  np.testing.assert_allclose(decision.policy, 1 / 3, rtol=1e-5)
  assert len(set(decision.action.tolist())) > 1


@pytest.mark.parametrize("name", sorted(AROUND.keys() - {"everything"}))
def test_searches_around_one_without_a_tree_have_none(name):
  search = AROUND[name](NoSearch(WIDER, 0.9))
  roots = equal_roots(1, [0.0, 0.0, 0.0])
  _, branches = jax.eval_shape(lambda key: trees.decide(search, {}, key, roots), jax.random.key(0))
  assert branches is None


def test_a_simulation_that_ended_at_the_greatest_depth_changes_nothing():
  tree = tree_by_hand(parent=[-1, 0, -1, 0], visits=[4, 2, 0, 1])
  assert tree.nodes.tolist() == [0, 1, 3] and list(tree.replay())[2] == []


@pytest.mark.parametrize(
  "changes",
  [
    {"parent": [-1, 0, 2, 0]},  # its own parent
    {"parent": [-1, -1, 1, 0]},  # the child of a node that is not there
    {"parent": [-1, 0, 1]},
    {"parent": 3},
    {"reward": [0.0, float("nan"), 0.0, 0.0]},
    {"chosen": 3},
    {"policy": [[1.0]]},
    {"discount": None},
    {"visits": [10**400, 1, 1, 1]},
    {"names": 5},
  ],
)
def test_what_is_no_tree_is_refused(changes):
  with pytest.raises(ValueError, match="not a search tree"):
    tree_by_hand(**changes)


def test_the_picture():
  """The leaves in the order of their actions; only what was there after a simulation."""
  tree = tree_by_hand()
  assert drawing.layout(tree) == {0: (0, 0.5), 1: (1, 1), 2: (2, 1), 3: (1, 0)}
  svg = tree.to_svg()
  texts = [
    "".join(text.itertext()) for text in ElementTree.fromstring(svg).iter() if "text" in text.tag
  ]
  assert texts == [
    "rootN 4  V 2.38",
    "network's v 1.00",
    "rightN 2  Q 3.75",
    "P 0.50  r 2.00  v 4.00",
    "leftN 1  Q 3.00",
    "P 0.25  r -1.00  v 8.00",
    "leftN 1  Q 1.00",
    "P 0.12  r 0.00  v 2.00",
  ]
  assert "right → left: N 1, Q 3, prior 0.25, reward -1" in svg
  early = tree.to_svg(1)
  assert early.count("<rect") == 3 and "N 1  Q 4.00" in early and "N 2  V 2.50" in early
  with pytest.raises(ValueError, match="has 3 simulations"):
    tree.to_svg(4)


def test_what_the_script_of_a_report_reads():
  told = json.loads(drawing.steps(tree_by_hand()))
  assert told["nodes"] == [[0, -1], [1, 0], [2, 1], [3, 0]]
  assert told["changes"][1] == [[1, 1, 4.0], [0, 2, 2.5]]
  assert told["changes"][2] == [[2, 1, 3.0], [1, 2, 3.75], [0, 3, 2.8333]]
  assert told["final"] == [[0, 4, 2.375], [1, 2, 3.75], [2, 1, 3.0], [3, 1, 1.0]]
  assert (told["base"], told["scale"]) == (1.0, 2.75)
  assert not re.search(r"\s", drawing.steps(tree_by_hand()))
