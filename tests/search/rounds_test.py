"""The search in rounds: its schedule and calls by hand, and its trees against mctx's."""

import functools

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pytest

from muzero_jax.search import batched, qtransforms, rounds

SIZE, WIDTH = 200, 6
# Actions, simulations, max_considered, and the rounds, worked by hand: the number of actions is
# halved log2(considered) times, and each number gets its share of the simulations, in whole rounds.
SCHEDULES = [
  (6, 8, 16, [6, 2]),  # 3 and not 2, if there were 9
  (6, 8, 4, [4, 2, 2]),
  (18, 16, 16, [16]),
  (18, 16, 8, [8, 4, 2, 2]),
  (6, 16, 4, [4, 4, 2, 2, 2, 2]),
  (18, 50, 16, [16, 8, 4, 4, 4, 2, 2, 2, 2, 2, 2, 2]),
  (6, 3, 1, [1, 1, 1]),
]


@pytest.mark.parametrize(("actions", "simulations", "considered", "expected"), SCHEDULES)
def test_schedules_by_hand(actions, simulations, considered, expected):
  assert rounds.Halving(simulations, considered, alone).rounds(actions) == expected


def alone(tree, node):
  """A transform with which the score of an action does not depend on what other actions found."""
  return 5 * jnp.where(tree.children_visits[node] > 0, tree.qvalues(node), tree.raw_values[node])


def transform(kind):
  function = alone if kind == "alone" else qtransforms.GUMBEL[kind]
  settings = dict(value_scale=0.1, visit_offset=50.0, epsilon=0.02)
  return alone if kind == "alone" else functools.partial(function, **settings)


def model(params, key, action, hidden):
  """Every edge has a reward, a discount (some are 0) and a value of its own."""
  del key
  mix, embed, policy, scalars = params
  hidden = jnp.tanh(hidden @ mix / 2 + embed[action])
  reward, value, end = (hidden @ scalars).T
  discount = jnp.where(end > 3, 0.0, jax.nn.sigmoid(end + 1))
  return mctx.RecurrentFnOutput(
    reward=reward, discount=discount, prior_logits=hidden @ policy, value=value
  ), hidden


def arbitrary(num_actions, seed=0):
  """Parameters of the model, hidden states of roots, and Gumbel noise."""
  random = np.random.RandomState(seed)
  shapes = (WIDTH, WIDTH), (num_actions, WIDTH), (WIDTH, num_actions), (WIDTH, 3), (SIZE, WIDTH)
  *params, hidden = (jnp.asarray(random.randn(*shape), jnp.float32) for shape in shapes)
  return params, hidden, jnp.asarray(random.gumbel(size=(SIZE, num_actions)), jnp.float32)


def searching(search, simulations, considered, kind, max_depth=None, recurrent_fn=model):
  """A jitted search; its arguments are those that `arbitrary` makes, and invalid actions."""
  qtransform = transform(kind)

  def grown(params, hidden, noise, invalid=None):
    return search(
      params,
      jax.random.key(0),
      root=mctx.RootFnOutput(
        prior_logits=hidden @ params[2], value=hidden @ params[3][:, 1], embedding=hidden
      ),
      recurrent_fn=recurrent_fn,
      root_action_selection_fn=rounds.Halving(simulations, considered, qtransform),
      interior_action_selection_fn=functools.partial(
        mctx.gumbel_muzero_interior_action_selection, qtransform=qtransform
      ),
      num_simulations=simulations,
      max_depth=max_depth,
      invalid_actions=invalid,
      extra_data=qtransforms.ExtraData(noise, jnp.full(SIZE, 0.7)),
    )

  return jax.jit(grown)


def assert_equal_trees(tree, expected):
  """Node for node, with their numbers."""
  for name in ("children_index", "children_visits", "node_visits", "parents", "action_from_parent"):
    np.testing.assert_array_equal(getattr(tree, name), getattr(expected, name), err_msg=name)
  names = ("node_values", "raw_values", "children_values", "children_rewards", "children_discounts")
  for name in (*names, "children_prior_logits"):
    np.testing.assert_allclose(
      getattr(tree, name), getattr(expected, name), rtol=1e-3, atol=1e-4, err_msg=name
    )
  grown = expected.node_visits > 0  # a node that no edge leads to holds anything
  np.testing.assert_allclose(
    tree.embeddings[grown], expected.embeddings[grown], rtol=1e-4, atol=1e-5
  )


@pytest.mark.parametrize(
  ("actions", "simulations", "considered", "max_depth"),
  [
    (6, 8, 16, None),
    (6, 8, 4, None),
    (18, 16, 16, None),
    (6, 16, 4, None),
    pytest.param(18, 50, 16, None, marks=pytest.mark.long),
    (6, 16, 4, 2),
    (3, 7, 16, 1),
    (6, 3, 1, None),
  ],
)
def test_the_tree_is_mctxs_where_scores_do_not_depend_on_each_other(
  actions, simulations, considered, max_depth
):
  """Every schedule; also where `max_depth` visits an edge again."""
  data = arbitrary(actions)
  expected, tree = (
    jax.device_get(searching(search, simulations, considered, "alone", max_depth)(*data))
    for search in (mctx.search, rounds.search)
  )
  assert_equal_trees(tree, expected)


@pytest.mark.parametrize("search", [batched.search, rounds.search])
def test_illegal_actions_are_not_visited_at_the_root(search):
  """The tree is mctx's for any number of legal actions, from none to all, in one batch; below the
  root all actions are legal."""
  data = arbitrary(6)
  random = np.random.RandomState(1)
  invalid = np.argsort(random.rand(SIZE, 6), 1) >= np.arange(SIZE)[:, None] % 7
  expected, tree = (
    jax.device_get(searching(search, 9, 4, "alone")(*data, invalid.astype(np.float32)))
    for search in (mctx.search, search)
  )
  assert_equal_trees(tree, expected)
  some = ~invalid.all(1)
  np.testing.assert_array_equal(tree.children_visits[:, 0].sum(1), 9)
  np.testing.assert_array_equal(tree.children_visits[some, 0][invalid[some]], 0)
  assert tree.children_visits[:, 1:].sum((0, 1)).all()


def paths(tree, b):
  """The tree of one root without numbers of nodes: sequences of actions -> visits and values."""
  found, ends = {}, [((), 0)]
  while ends:
    path, node = ends.pop()
    found[path] = tree.node_visits[b, node], tree.node_values[b, node], tree.raw_values[b, node]
    ends += [((*path, a), c) for a, c in enumerate(tree.children_index[b, node]) if c >= 0]
  return found


def alike(one, other):
  return one.keys() == other.keys() and all(
    np.allclose(one[path], other[path], rtol=1e-3, atol=1e-3) for path in one
  )


@pytest.mark.parametrize(
  ("kind", "actions", "simulations", "considered", "share"),
  [
    ("node", 6, 8, 16, 0.9),
    pytest.param("tree", 6, 8, 16, 0.85, marks=pytest.mark.long),
    pytest.param("advantage", 6, 8, 16, 0.85, marks=pytest.mark.long),
    pytest.param("node", 18, 16, 16, 1.0, marks=pytest.mark.long),
    pytest.param("node", 6, 16, 4, 0.9, marks=pytest.mark.long),
    pytest.param("node", 18, 50, 16, 0.65, marks=pytest.mark.long),
  ],
)
def test_how_many_trees_are_mctxs(kind, actions, simulations, considered, share):
  """mctx adapts the scale of Q between the simulations of a round, so that it sometimes visits
  another action than the best at the beginning of the round. Where it does not, all below is the
  same, for kinds whose Q does not depend on other branches."""
  same, same_visits = 0, 0
  searches = [
    searching(search, simulations, considered, kind) for search in (mctx.search, rounds.search)
  ]
  for seed in range(2):
    expected, tree = (jax.device_get(search(*arbitrary(actions, seed))) for search in searches)
    visits = (tree.children_visits[:, 0] == expected.children_visits[:, 0]).all(1)
    equal = np.array([alike(paths(tree, b), paths(expected, b)) for b in range(SIZE)])
    assert (tree.children_visits[:, 0].sum(1) == simulations).all()
    if kind != "tree":
      np.testing.assert_array_equal(equal, visits)
    same, same_visits = same + equal.mean() / 2, same_visits + visits.mean() / 2
  print(f"{kind} {simulations}/{actions}/{considered}: {same:.1%} equal, visits {same_visits:.1%}")
  assert share <= same


def calls(jaxpr, times=1):
  """The batches of all calls of a function named `counted`, as often as loops repeat them."""
  for equation in jaxpr.eqns:
    again = times * equation.params.get("length", 1)
    if equation.params.get("name") == "counted":
      yield from [equation.invars[-1].aval.shape[0]] * again
    for inner in jax.tree.leaves(
      list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
    ):
      inner = getattr(inner, "jaxpr", inner)
      if hasattr(inner, "eqns"):
        yield from calls(inner, again)


@pytest.mark.parametrize(("actions", "simulations", "considered", "expected"), SCHEDULES)
def test_each_round_is_one_call_of_the_model(actions, simulations, considered, expected):
  """And nothing asks the data how long to go on: no loop but those over rounds, of known length."""

  @jax.jit
  def counted(params, key, action, hidden):
    return model(params, key, action, hidden)

  program = searching(rounds.search, simulations, considered, "node", recurrent_fn=counted)
  jaxpr = program.trace(*arbitrary(actions)).jaxpr
  assert list(calls(jaxpr.jaxpr)) == [SIZE * width for width in expected]
  assert "while[" not in str(jaxpr)


def test_a_round_visits_the_best_at_its_beginning():
  """Without noise, with equal priors and rewards 0.0 to 0.5 and nothing after them: 8 simulations
  over 6 actions visit all, best score first (all alike: in their order), and then the two best
  again, the best one first. The children below are chosen alike: action 0."""

  def bandit(params, key, action, hidden):
    size = action.shape[0]
    reward = jnp.where(hidden[:, 0] == 0, 0.1 * action, 0.0)
    zeros = jnp.zeros(size)
    return mctx.RecurrentFnOutput(
      reward=reward, discount=zeros + 1, prior_logits=jnp.zeros((size, 6)), value=zeros
    ), hidden + 1

  params = [jnp.zeros(shape) for shape in ((1, 1), (6, 1), (1, 6), (1, 3))]
  search = searching(rounds.search, 8, 16, "node", recurrent_fn=bandit)
  tree = jax.device_get(search(params, jnp.zeros((SIZE, 1)), jnp.zeros((SIZE, 6))))
  np.testing.assert_array_equal(tree.children_visits[:, 0], np.tile([1, 1, 1, 1, 2, 2], (SIZE, 1)))
  np.testing.assert_array_equal(tree.children_index[0, 0], [1, 2, 3, 4, 5, 6])
  np.testing.assert_array_equal(tree.children_index[0, [6, 5], 0], [7, 8])
  np.testing.assert_allclose(tree.node_values[0, 0], (1.5 + 0.5 + 0.4) / 9, rtol=1e-5)
