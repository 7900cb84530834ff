"""Our own search against mctx's, node for node, and by hand."""

import functools

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pytest

from muzero_jax.search import batched
from muzero_jax.search.qtransforms import puct_over_tree

SIZE, NUM_ACTIONS, WIDTH = 24, 3, 4
RANDOM = np.random.RandomState(0)
MIX, EMBED, POLICY, SCALARS = (
  jnp.asarray(RANDOM.randn(*shape), jnp.float32)
  for shape in ((WIDTH, WIDTH), (NUM_ACTIONS, WIDTH), (WIDTH, NUM_ACTIONS), (WIDTH, 3))
)
ROOT = mctx.RootFnOutput(
  prior_logits=jnp.asarray(RANDOM.randn(SIZE, NUM_ACTIONS), jnp.float32),
  value=jnp.asarray(RANDOM.randn(SIZE), jnp.float32),
  embedding=jnp.asarray(RANDOM.randn(SIZE, WIDTH), jnp.float32),
)


def model(params, key, action, hidden):
  """Every edge has a reward, a discount (some are 0) and a value of its own."""
  del params, key
  hidden = jnp.tanh(hidden @ MIX + EMBED[action])
  reward, value, end = (hidden @ SCALARS).T
  discount = jnp.where(end > 1.5, 0.0, jax.nn.sigmoid(end))
  return mctx.RecurrentFnOutput(
    reward=reward, discount=discount, prior_logits=hidden @ POLICY, value=value
  ), hidden


def gumbel(simulations):
  transform = functools.partial(
    mctx.qtransform_completed_by_mix_value, value_scale=0.2, epsilon=0.05
  )
  noise = jax.random.gumbel(jax.random.key(1), (SIZE, NUM_ACTIONS))
  return dict(
    root_action_selection_fn=functools.partial(
      mctx.gumbel_muzero_root_action_selection,
      num_simulations=simulations,
      max_num_considered_actions=NUM_ACTIONS,
      qtransform=transform,
    ),
    interior_action_selection_fn=functools.partial(
      mctx.gumbel_muzero_interior_action_selection, qtransform=transform
    ),
    extra_data=mctx.GumbelMuZeroExtraData(root_gumbel=noise),
  )


def puct(simulations, qtransform):
  select = functools.partial(mctx.muzero_action_selection, qtransform=qtransform)
  return dict(
    root_action_selection_fn=functools.partial(select, depth=0), interior_action_selection_fn=select
  )


WAYS = {
  "gumbel": gumbel,
  "puct over siblings": functools.partial(puct, qtransform=mctx.qtransform_by_parent_and_siblings),
  "puct over the tree": functools.partial(
    puct, qtransform=functools.partial(puct_over_tree, epsilon=0.02)
  ),
}


def grow(search, way, simulations, max_depth):
  def grown(key, root):
    return search(
      {},
      key,
      root=root,
      recurrent_fn=model,
      num_simulations=simulations,
      max_depth=max_depth,
      **WAYS[way](simulations),
    )

  return jax.device_get(jax.jit(grown)(jax.random.key(0), ROOT))


@pytest.mark.parametrize(
  ("way", "simulations", "max_depth"),
  [(way, 24, None) for way in WAYS]
  + [
    ("gumbel", 24, 3),
    ("puct over the tree", 24, 3),
    ("gumbel", 6, 1),
    ("puct over siblings", 1, None),
  ],
)
def test_the_tree_is_mctxs_node_for_node(way, simulations, max_depth):
  """Also where `max_depth` visits an edge again, and where a discount of 0 cuts the way up."""
  expected = grow(mctx.search, way, simulations, max_depth)
  tree = grow(batched.search, way, simulations, max_depth)
  if simulations == 24 and max_depth is None:
    assert expected.children_visits[:, 1:].sum() > SIZE, "no tree is deeper than one edge"
  for name in ("children_index", "children_visits", "node_visits", "parents", "action_from_parent"):
    np.testing.assert_array_equal(getattr(tree, name), getattr(expected, name), err_msg=name)
  for name in (
    "node_values",
    "raw_values",
    "children_values",
    "children_rewards",
    "children_discounts",
    "children_prior_logits",
  ):
    np.testing.assert_allclose(
      getattr(tree, name), getattr(expected, name), rtol=1e-4, atol=1e-5, err_msg=name
    )
  grown = expected.node_visits > 0  # a node that no edge leads to holds anything
  np.testing.assert_allclose(
    tree.embeddings[grown], expected.embeddings[grown], rtol=1e-5, atol=1e-6
  )


def test_values_go_up_by_hand():
  """One action, so a chain: rewards 1, 1, 1, discount 1/2, values 8 everywhere, and 8 at the root.
  Simulation 1 returns 1 + 8 / 2 = 5; 2: 1 + (1 + 8 / 2) / 2 = 3.5; 3: 1 + 3.5 / 2 = 2.75. Root: (8
  + 5 + 3.5 + 2.75) / 4 = 4.8125; its child saw 8, 5 and 3.5: 5.5.
  """

  def chain(params, key, action, hidden):
    one = jnp.ones(1)
    return mctx.RecurrentFnOutput(
      reward=one, discount=one / 2, prior_logits=jnp.zeros((1, 1)), value=8 * one
    ), hidden

  select = mctx.muzero_action_selection
  tree = batched.search(
    {},
    jax.random.key(0),
    root=mctx.RootFnOutput(
      prior_logits=jnp.zeros((1, 1)), value=jnp.full(1, 8.0), embedding=jnp.zeros((1, 1))
    ),
    recurrent_fn=chain,
    root_action_selection_fn=functools.partial(select, depth=0),
    interior_action_selection_fn=select,
    num_simulations=3,
  )
  np.testing.assert_allclose(tree.node_values, [[4.8125, 5.5, 6.5, 8.0]], rtol=1e-6)
  np.testing.assert_array_equal(tree.node_visits, [[4, 3, 2, 1]])
  np.testing.assert_array_equal(tree.children_index[0, :, 0], [1, 2, 3, -1])


@pytest.mark.parametrize("way", list(WAYS))
def test_one_simulation_is_a_straight_line(way):
  """The only loop is that over simulations, of known length: nothing asks the data how long to go
  on.
  """

  def loops(jaxpr):
    for equation in jaxpr.eqns:
      if equation.primitive.name == "while":
        yield equation
      for inner in jax.tree.leaves(
        list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns") or hasattr(x, "jaxpr")
      ):
        inner = getattr(inner, "jaxpr", inner)
        if hasattr(inner, "eqns"):
          if equation.primitive.name == "scan":
            yield equation
          yield from loops(inner)

  def searching(search):
    def grown(root):
      return search(
        {}, jax.random.key(0), root=root, recurrent_fn=model, num_simulations=8, **WAYS[way](8)
      )

    found = list(loops(jax.make_jaxpr(grown)(ROOT).jaxpr))
    return [equation.primitive.name for equation in found]

  assert searching(batched.search) == ["scan"]
  assert "while" in searching(mctx.search)
