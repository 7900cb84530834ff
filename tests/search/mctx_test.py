"""The searches against mctx called by hand."""

import functools

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pytest

from muzero_jax.search.gumbel import Gumbel
from muzero_jax.search.puct import Puct
from muzero_jax.search.qtransforms import puct_over_tree
from tests.search.common import (
  DISCOUNT,
  KEY,
  MODEL,
  ROOT,
  SEARCHES,
  by_numpy,
  compiled,
  many,
  run,
)


def for_mctx(params, key, action, hidden):
  """MODEL as mctx wants it, once more, by hand."""
  del params, key
  hidden, reward = MODEL.step({}, hidden, action)
  logits, value = MODEL.predict({}, hidden)
  discount = jnp.full(action.shape[0], DISCOUNT)
  return mctx.RecurrentFnOutput(
    reward=reward[:, 0], discount=discount, prior_logits=logits, value=value[:, 0]
  ), hidden


def worth(tree, policy):
  """What the policies f32[B, A] at the roots are worth: the sum of policy times completed Q, in
  plain Python."""
  priors = np.asarray(jax.nn.softmax(tree.children_prior_logits[:, 0]), np.float64)
  q = tree.children_rewards[:, 0] + tree.children_discounts[:, 0] * tree.children_values[:, 0]
  completed = [
    by_numpy(*root)
    for root in zip(tree.children_visits[:, 0], q, priors, tree.raw_values[:, 0], strict=True)
  ]
  return np.sum(policy * np.array(completed), -1)


MCTX_ROOT = mctx.RootFnOutput(
  prior_logits=ROOT.policy_logits, value=ROOT.value, embedding=ROOT.hidden
)


@pytest.mark.parametrize(("tree", "considered"), [("mctx", 3), ("batched", 3), ("rounds", 2)])
def test_gumbel_is_mctx(tree, considered):
  """Acts with the survivor of the halving; the target is softmax(logits + sigma(completed Q)); no
  Dirichlet noise on top.
  """
  simulations = 20
  settings = dict(
    max_considered=considered,
    value_scale=0.2,
    visit_offset=30.0,
    epsilon=0.05,
    max_depth=4,
    gumbel_scale=0.7,
  )
  settings["tree"] = tree
  decision = run(Gumbel(MODEL, DISCOUNT, simulations, **settings), KEY, ROOT)
  transform = functools.partial(
    mctx.qtransform_completed_by_mix_value, value_scale=0.2, maxvisit_init=30.0, epsilon=0.05
  )
  output = compiled(
    lambda: mctx.gumbel_muzero_policy(
      {},
      KEY,
      MCTX_ROOT,
      for_mctx,
      simulations,
      max_depth=4,
      qtransform=transform,
      max_num_considered_actions=considered,
      gumbel_scale=0.7,
    )
  )
  np.testing.assert_array_equal(decision.action, output.action)
  np.testing.assert_allclose(decision.policy, output.action_weights, rtol=1e-4)
  assert (output.search_tree.children_visits[:, 0] == 0).any(1).all(), (
    "some actions of every root are not considered"
  )
  np.testing.assert_allclose(
    decision.value, worth(output.search_tree, output.action_weights), rtol=1e-4, atol=1e-5
  )
  # The target, from the finished tree alone.
  sigma = jax.vmap(lambda tree: transform(tree, jnp.int32(0)))(output.search_tree)
  np.testing.assert_allclose(decision.policy, jax.nn.softmax(ROOT.policy_logits + sigma), rtol=1e-4)


@pytest.mark.parametrize(
  ("qtransform", "function", "temperature"),
  [("node", mctx.qtransform_by_parent_and_siblings, 1.0), ("tree", puct_over_tree, 0.5)],
)
def test_puct_is_mctx(qtransform, function, temperature):
  """mctx's default transform of Q is per node, the paper's over the whole tree: it is a setting."""
  settings = dict(
    pb_c_init=1.5, pb_c_base=1000.0, dirichlet_alpha=0.5, dirichlet_fraction=0.3, max_depth=4
  )
  decision = run(
    Puct(
      MODEL, DISCOUNT, 20, qtransform=qtransform, temperature=temperature, epsilon=0.05, **settings
    ),
    KEY,
    ROOT,
  )
  function = functools.partial(function, epsilon=0.05)
  output = compiled(
    lambda: mctx.muzero_policy(
      {}, KEY, MCTX_ROOT, for_mctx, 20, qtransform=function, temperature=temperature, **settings
    )
  )
  np.testing.assert_array_equal(decision.action, output.action)
  np.testing.assert_allclose(decision.policy, output.action_weights, rtol=1e-5)
  np.testing.assert_allclose(
    decision.value, worth(output.search_tree, output.action_weights), rtol=1e-4, atol=1e-5
  )


def test_the_qtransform_is_a_setting_that_matters():
  """The two transforms search differently somewhere among the roots."""
  node, tree = (
    run(Puct(MODEL, DISCOUNT, 8, qtransform=q).for_evaluation(), KEY, ROOT).policy
    for q in ("node", "tree")
  )
  assert (node != tree).any()


def test_puct_has_dirichlet_noise_in_self_play_only():
  """Never in evaluation, never in reanalyzed targets: those visit as mctx does with a fraction of
  0.
  """
  search = SEARCHES["puct"]
  assert (many(search, ROOT).policy.std(0) > 0).any()
  output = compiled(
    lambda: mctx.muzero_policy(
      {},
      KEY,
      MCTX_ROOT,
      for_mctx,
      8,
      qtransform=functools.partial(puct_over_tree, epsilon=0.02),
      dirichlet_fraction=0.0,
    )
  )
  for variant in (search.for_evaluation(), search.for_reanalysis()):
    policies = many(variant, ROOT).policy
    np.testing.assert_allclose(
      policies, np.broadcast_to(output.action_weights, policies.shape), atol=1e-6
    )
