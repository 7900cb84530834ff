"""The searches: against mctx called by hand, and against numbers worked by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pytest

from muzero_jax.networks.scalars import Support
from muzero_jax.search.base import RecurrentFn, log_prob
from muzero_jax.search.gumbel import Gumbel
from muzero_jax.search.none import NoSearch
from muzero_jax.search.puct import Puct
from muzero_jax.search.qtransforms import puct_over_tree
from muzero_jax.search.random import Random
from muzero_jax.types import Model, Root
from tests.search.common import (
  D,
  assert_counts,
  by_numpy,
  compiled,
  equal_roots,
  plain,
  run,
  statistics,
)

KEY = jax.random.key(0)
A = 4
GAMMA = 0.9


def arbitrary_model():
  """Tells states and actions apart; the same for every batch element."""
  random = np.random.RandomState(0)
  mix, embed, policy, value, reward = (
    jnp.asarray(random.randn(*shape), jnp.float32)
    for shape in ((D, D), (A, D), (D, A), (D, 1), (D, 1))
  )

  def dot(x, w):
    return jnp.sum(x[:, :, None] * w[None], 1)  # the same rounding for any batch size

  def step(params, hidden, action):
    hidden = jnp.tanh(dot(hidden, mix) + embed[action])
    return hidden, dot(hidden, reward)

  return plain(step, lambda params, hidden: (dot(hidden, policy), dot(hidden, value)))


MODEL = arbitrary_model()


def arbitrary_root():
  """20 different roots, twice: a root and its twin differ in their noise only."""
  random = np.random.RandomState(1)
  one = Root(
    *(jnp.asarray(random.randn(*shape), jnp.float32) for shape in ((20, D), (20, A), (20,)))
  )
  return jax.tree.map(lambda x: jnp.concatenate([x, x]), one)


ROOT = arbitrary_root()
SIZE = 40


@functools.cache
def constant_model(value, num_actions=A):
  """No rewards, and the same value everywhere."""

  def predict(params, hidden):
    return jnp.zeros((hidden.shape[0], num_actions)), jnp.full(
      (hidden.shape[0], 1), value, jnp.float32
    )

  return plain(lambda params, hidden, action: (hidden, jnp.zeros((hidden.shape[0], 1))), predict)


def bandit_model():
  """The first action is rewarded as the parameters f32[3] say, nothing after it."""

  def step(params, hidden, action):
    return hidden + 1, jnp.where(hidden[:, :1] == 0, params[action][:, None], 0.0)

  return plain(
    step, lambda params, hidden: (jnp.zeros((hidden.shape[0], 3)), jnp.zeros((hidden.shape[0], 1)))
  )


BANDIT = bandit_model()


SEARCHES = {
  "gumbel": Gumbel(MODEL, GAMMA, 8),
  "puct": Puct(MODEL, GAMMA, 8),
  "none": NoSearch(MODEL, GAMMA),
  "random": Random(),
}
with_every_search = pytest.mark.parametrize("name", list(SEARCHES))
with_trees = pytest.mark.parametrize("name", ["gumbel", "puct"])


def many(search, root):
  """Decisions for 4 keys, [4, B, ...]."""
  decisions = [run(search, jax.random.key(i), root) for i in range(4)]
  return jax.tree.map(lambda *x: np.stack(x), *decisions)


def for_mctx(params, key, action, hidden):
  """MODEL as mctx wants it, once more, by hand."""
  del params, key
  hidden, reward = MODEL.step({}, hidden, action)
  logits, value = MODEL.predict({}, hidden)
  discount = jnp.full(action.shape[0], GAMMA)
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


@pytest.mark.parametrize("tree", ["mctx", "batched"])
def test_gumbel_is_mctx(tree):
  """Acts with the survivor of the halving; the target is softmax(logits + sigma(completed Q)); no
  Dirichlet noise on top.
  """
  simulations = 20
  settings = dict(
    max_considered=3,
    value_scale=0.2,
    visit_offset=30.0,
    epsilon=0.05,
    max_depth=4,
    gumbel_scale=0.7,
  )
  settings["tree"] = tree
  decision = run(Gumbel(MODEL, GAMMA, simulations, **settings), KEY, ROOT)
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
      max_num_considered_actions=3,
      gumbel_scale=0.7,
    )
  )
  np.testing.assert_array_equal(decision.action, output.action)
  np.testing.assert_allclose(decision.policy, output.action_weights, rtol=1e-5)
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
      MODEL, GAMMA, 20, qtransform=qtransform, temperature=temperature, epsilon=0.05, **settings
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
    run(Puct(MODEL, GAMMA, 8, qtransform=q).for_evaluation(), KEY, ROOT).policy
    for q in ("node", "tree")
  )
  assert (node != tree).any()


@with_every_search
def test_shapes_and_dtypes(name):
  decision = run(SEARCHES[name], KEY, ROOT)
  assert decision.action.shape == (SIZE,) and decision.action.dtype == np.int32
  assert decision.policy.shape == (SIZE, A) and decision.policy.dtype == np.float32
  assert decision.value.shape == decision.log_prob.shape == (SIZE,)
  np.testing.assert_allclose(decision.policy.sum(-1), 1, rtol=1e-5)
  assert SEARCHES[name].simulations == (8 if name in ("gumbel", "puct") else 0)


@with_trees
def test_the_roots_own_value_counts(name):
  """A model whose values are all 3, with discount 1 and no rewards, has search value 3, also where
  one simulation leaves actions unvisited; if nothing stood in for those, it would be less."""
  search = dataclasses.replace(SEARCHES[name], model=constant_model(3.0), discount=1.0)
  for simulations in (1, 8):
    search = dataclasses.replace(search, num_simulations=simulations)
    np.testing.assert_allclose(
      run(search, KEY, equal_roots(2, np.zeros(A), value=3.0)).value, 3.0, rtol=1e-6
    )
  if (
    name == "gumbel"
    # one visit with Q = 3 and the root's own 5: 3 of the action visited, (5 + 3) / 2 of the others
  ):
    decision = run(
      dataclasses.replace(search, num_simulations=1), KEY, equal_roots(2, np.zeros(A), value=5.0)
    )
    chosen = decision.policy[np.arange(2), decision.action]
    np.testing.assert_allclose(decision.value, 3 * chosen + 4 * (1 - chosen), rtol=1e-5)


@pytest.mark.parametrize("name", ["gumbel", "puct", "none", "random"])
def test_every_root_and_every_key_has_its_own_noise(name):
  """Fresh noise for each root and each step: equal roots of one batch act differently, and so does
  one root under two keys.
  """
  search = SEARCHES[name]
  if name != "random":
    search = dataclasses.replace(search, model=constant_model(0.0))
  root = equal_roots(4000, np.zeros(A))
  one, same, other = (run(search, jax.random.key(k), root).action for k in (0, 0, 1))
  assert len(set(one.tolist())) == A
  np.testing.assert_array_equal(one, same)
  assert (one != other).any()


def test_gumbel_noise_samples_from_the_prior():
  """Noise ~ Gumbel(0, 1): where all actions are worth the same, the survivor is a sample of the
  prior.
  """
  prior = np.array([0.5, 0.3, 0.15, 0.05])
  assert_counts(
    run(Gumbel(constant_model(0.0), GAMMA, 8), KEY, equal_roots(4000, np.log(prior))).action, prior
  )


def test_a_prior_to_a_power_below_1_is_forgotten():
  """Odds of 16 to 1 to the power 1/2 are 4 to 1 where all actions are worth the same; the actions
  taken follow. A difference of Q of epsilon, 51 visits' worth of 0.1 each, that stays for ever adds
  up to 5.1 / (1 - 1/2) = 10.2 of logits, and not without bound.
  """
  search = Gumbel(constant_model(0.0, 2), GAMMA, 2, prior_exponent=0.5)
  decision = run(search, KEY, equal_roots(4000, np.log([16.0, 1.0])))
  np.testing.assert_allclose(decision.policy, np.tile([0.8, 0.2], (4000, 1)), rtol=1e-5)
  assert_counts(decision.action, [0.8, 0.2])
  search, logits = (
    Gumbel(BANDIT, GAMMA, 3, epsilon=1e-3, prior_exponent=0.5, gumbel_scale=0.0),
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
    Gumbel(constant_model(0.0), GAMMA, 8), KEY, equal_roots(4000, np.log(prior))
  ).policy
  np.testing.assert_allclose(policies, np.broadcast_to(prior, policies.shape), rtol=1e-5)


@pytest.mark.parametrize(
  ("name", "rewards"),
  [
    ("gumbel", [0, 0, 0]),
    ("gumbel", [1, 1, 0]),
    ("puct", [0, 0, 0]),
    ("none", [0, 0, 0]),
    ("none", [1, 1, 0]),
  ],
)
def test_ties_are_broken_at_random_in_evaluation(name, rewards):
  """With a zero-initialized policy head all actions tie: not the lowest index wins, but the best
  share alike.
  """
  search = dataclasses.replace(SEARCHES[name], model=BANDIT).for_evaluation()
  if name == "puct":
    search = dataclasses.replace(search, num_simulations=9)  # 3 visits each
  best = np.equal(rewards, max(rewards))
  assert_counts(run(search, KEY, equal_roots(4000, np.zeros(3)), rewards).action, best / best.sum())


def alone_at_the_top(policy):
  """Whether one action is clearly the best, bool[...]."""
  ordered = np.sort(policy, -1)
  return ordered[..., -1] > ordered[..., -2] + 1e-3


@pytest.mark.parametrize("name", ["gumbel", "puct", "none"])
def test_nothing_else_is_random_in_evaluation(name):
  """No Gumbel and no Dirichlet noise: where nothing ties, every key and every place in the batch
  gives the same decision.
  """
  decisions = many(SEARCHES[name].for_evaluation(), ROOT)
  decisions = jax.tree.map(lambda x: x.reshape(8, 20, *x.shape[2:]), decisions)
  np.testing.assert_allclose(
    decisions.policy, np.broadcast_to(decisions.policy[:1], decisions.policy.shape), atol=1e-4
  )
  np.testing.assert_allclose(
    decisions.value, np.broadcast_to(decisions.value[:1], decisions.value.shape), atol=1e-4
  )
  clear = alone_at_the_top(decisions.policy[0])
  assert clear.sum() >= 10
  assert (decisions.action == decisions.action[:1])[:, clear].all()


@pytest.mark.parametrize("name", ["puct", "none"])
def test_evaluation_takes_the_best_action(name):
  """PUCT the most visited one, and without a tree the best of the improved policy."""
  decision = run(SEARCHES[name].for_evaluation(), KEY, ROOT)
  chosen = np.take_along_axis(decision.policy, decision.action[:, None], 1)[:, 0]
  np.testing.assert_array_equal(chosen, decision.policy.max(-1))


def test_gumbel_evaluates_with_the_best_of_logits_and_q():
  """8 simulations try all 3 actions. Rewards 0 and 1 stretch Q to 0 and 1, times at least c_visit *
  c_scale = 5: a reward outweighs log-odds of 3, but not of 30.
  """
  search = dataclasses.replace(SEARCHES["gumbel"], model=BANDIT).for_evaluation()
  for odds, best in ((0.0, 2), (3.0, 2), (30.0, 0)):
    np.testing.assert_array_equal(
      run(search, KEY, equal_roots(4000, [odds, 0, 0]), [0, 0, 1]).action, best
    )


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
  search = Puct(BANDIT, GAMMA, 9).for_reanalysis()
  decision = run(search, KEY, equal_roots(4000, np.log([0.5, 0.3, 0.2])), [0, 0.1, 1])
  shares = decision.policy[0]
  assert (decision.policy == shares).all() and 0 < shares[1] < 1
  assert_counts(decision.action, shares)


@pytest.mark.parametrize("name", ["gumbel", "puct", "none"])
def test_one_batch_element_never_influences_another(name):
  """Roots searched together and one by one decide the same (noise off)."""
  search = SEARCHES[name].for_evaluation()
  together = run(search, KEY, ROOT)
  for i in range(20):
    alone = run(search, KEY, jax.tree.map(lambda x: x[i : i + 1], ROOT))
    np.testing.assert_allclose(alone.policy[0], together.policy[i], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(alone.value[0], together.value[i], rtol=1e-4, atol=1e-5)
    if alone_at_the_top(alone.policy[0]):
      assert alone.action[0] == together.action[i]
      np.testing.assert_allclose(alone.log_prob[0], together.log_prob[i], rtol=1e-4, atol=1e-5)


def test_the_tree_runs_on_plain_scalars_with_a_discount_for_each_root():
  """Categorical predictions are decoded: the expectation in transformed space, transformed back.
  Half on bin 1 and half on bin 2: h(x) = 1.5, where h(x) = sqrt(x + 1) - 1 + x / 1000. x = 5.23:
  sqrt(6.23) = 2.4960, so 1.4960 + 0.0052 = 1.5012; x = 5.2238: sqrt(6.2238) = 2.49475, + 0.00522 -
  1 = 1.49997. A reward: half on -1 and half on -2, so the same below zero.
  """
  support = Support(5)  # bins -5 .. 5
  halves = np.full(11, -np.inf)
  halves[[6, 7]] = np.log(0.5)  # bins 1 and 2
  up, down = jnp.asarray(halves, jnp.float32), jnp.asarray(halves[::-1].copy(), jnp.float32)

  def predict(params, hidden):
    return jnp.zeros((hidden.shape[0], A)), jnp.tile(up, (hidden.shape[0], 1))

  def step(params, hidden, action):
    return hidden + 1, jnp.tile(down, (hidden.shape[0], 1))

  model = Model(None, None, predict, step, support.decode, None)
  output, (hidden, depth) = RecurrentFn(model, GAMMA)(
    {}, KEY, jnp.zeros(3, jnp.int32), (jnp.zeros((3, D)), jnp.array([0.0, 1.0, 4.0]))
  )
  low, high = 5.0, 6.0  # by bisection
  for _ in range(60):
    middle = (low + high) / 2
    low, high = (middle, high) if (middle + 1) ** 0.5 - 1 + middle / 1000 < 1.5 else (low, middle)
  assert 5.22 < low < 5.23
  np.testing.assert_array_equal(depth, [1.0, 2.0, 5.0])
  assert output.value.shape == output.reward.shape == output.discount.shape == (3,)
  np.testing.assert_allclose(output.value, np.full(3, low), rtol=1e-5)
  np.testing.assert_allclose(output.reward, np.full(3, -low), rtol=1e-5)
  np.testing.assert_allclose(output.discount, np.full(3, GAMMA), rtol=1e-6)
  np.testing.assert_array_equal(hidden, 1)
  # One simulation of one action, which the policy then takes: reward + gamma * value.
  decision = run(Puct(model, GAMMA, 1), KEY, equal_roots(3, np.zeros(A), value=2.0))
  np.testing.assert_allclose(decision.value, np.full(3, -low + GAMMA * low), rtol=1e-5)


def test_log_prob():
  """log 1/4 and log 1/8; a probability of 0 gives something very negative, but finite."""
  policy = jnp.array([[0.25, 0.75], [0.875, 0.125], [1.0, 0.0]])
  answer = log_prob(policy, jnp.array([0, 1, 1], jnp.int32))
  np.testing.assert_allclose(answer[:2], [-2 * np.log(2), -3 * np.log(2)], rtol=1e-6)
  assert -100 < float(answer[2]) < -80


def cmpo(**settings):
  """Prior 1/2, 1/4, 1/4; rewards 0, 1, 0; the values behind are 2, 0, 4; gamma 1/2."""
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
    run(NoSearch(BANDIT, GAMMA), KEY, equal_roots(4000, np.log(prior)), [0, 0, 9]).action, prior
  )


def corridor():
  """From the start 0, action 0 leads to the door 1, 1 to a dead end 2, and 2 to it as well, with a
  reward of 0.1. At the door, action 1 is rewarded with 1. The networks know nothing: all values 0,
  all actions alike.
  """
  places = jnp.array([[1, 2, 2], [2, 2, 2], [2, 2, 2]])
  rewards = jnp.array([[0, 0, 0.1], [0, 1, 0], [0, 0, 0]], jnp.float32)

  def step(params, hidden, action):
    place = hidden[:, 0].astype(jnp.int32)
    return places[place, action].astype(jnp.float32)[:, None], rewards[place, action][:, None]

  return plain(
    step, lambda params, hidden: (jnp.zeros((hidden.shape[0], 3)), jnp.zeros((hidden.shape[0], 1)))
  )


@pytest.mark.parametrize("search", [Gumbel(corridor(), GAMMA, 40), Puct(corridor(), GAMMA, 200)])
def test_a_reward_two_steps_away_is_found(search):
  """Worth 0.9 * 1 against 0.1 at once, which is what one step of looking ahead would take."""
  root = Root(jnp.zeros((8, 1)), jnp.zeros((8, 3)), jnp.zeros(8))
  decision = run(search.for_evaluation(), KEY, root)
  np.testing.assert_array_equal(decision.action, 0)
  np.testing.assert_array_equal(decision.policy.argmax(-1), 0)
  assert (0.1 < decision.value).all() and (decision.value < 0.9).all()
  short = NoSearch(corridor(), GAMMA).for_evaluation()
  np.testing.assert_array_equal(run(short, KEY, root).action, 2)


def test_random_play():
  """Every action alike, whatever the root says."""
  decision = run(Random(), KEY, equal_roots(4000, [9.0, 0, 0, 0]))
  np.testing.assert_allclose(decision.policy, 0.25)
  np.testing.assert_allclose(decision.log_prob, np.log(0.25), rtol=1e-6)
  assert_counts(decision.action, np.full(A, 0.25))


def rewarded_bandit(num_actions):
  """The first action is rewarded as `params["rewards"]` says, nothing after it; all actions
  alike."""

  def step(params, hidden, action):
    return hidden + 1, jnp.where(hidden[:, :1] == 0, params["rewards"][action][:, None], 0.0)

  def predict(params, hidden):
    return jnp.zeros((hidden.shape[0], num_actions)), jnp.zeros((hidden.shape[0], 1))

  return plain(step, predict)


def paying(*rewards, error=1.0, skill=0.0):
  return {"rewards": jnp.array(rewards, jnp.float32), "statistics": statistics(error, skill)}


@pytest.mark.parametrize("tree", ["mctx", "batched"])
def test_the_value_is_that_of_the_improved_policy(tree):
  """One action of six pays 1 and the root knows: it is worth 0.97. 8 simulations try all six, and
  the best two again. The mean over visits, (0.97 + 1 + 1) / 9 = 0.33, would teach the value that it
  is a third. The policy takes the best one almost always: its logit is 0.1 * (50 + 2) = 5.2 above
  the others', so it has e^5.2 / (e^5.2 + 5) = 181.272 / 186.272 = 0.97316."""
  search = Gumbel(rewarded_bandit(6), GAMMA, 8, tree=tree)
  decision = run(search, KEY, equal_roots(20, np.zeros(6), value=0.97), paying(1, 0, 0, 0, 0, 0))
  np.testing.assert_allclose(decision.value, 0.97316, atol=1e-4)
  np.testing.assert_allclose(
    decision.advantage, np.where(decision.action == 0, 1, 0) - 0.97316, atol=1e-4
  )


@pytest.mark.parametrize("tree", ["mctx", "batched"])
def test_pucts_value_is_the_mean_of_q_over_visits(tree):
  """Q is 1 for the action that pays and 0 for the others: the share of visits. The root's own 0.97
  is no part of it."""
  search = Puct(rewarded_bandit(6), GAMMA, 8, tree=tree)
  decision = run(search, KEY, equal_roots(20, np.zeros(6), value=0.97), paying(1, 0, 0, 0, 0, 0))
  visits = decision.policy[:, 0] * 8
  np.testing.assert_allclose(visits, np.round(visits), atol=1e-5)
  assert (0 < visits).all() and (visits < 8).all()
  np.testing.assert_allclose(decision.value, visits / 8, rtol=1e-6)
  np.testing.assert_allclose(
    decision.advantage, np.where(decision.action == 0, 1, 0) - visits / 8, atol=1e-6
  )


@pytest.mark.parametrize("tree", ["mctx", "batched"])
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
  search = Gumbel(rewarded_bandit(4), GAMMA, 8, qtransform=qtransform, tree=tree)
  policy = run(
    search, KEY, equal_roots(8, np.zeros(4)), paying(1, 0, 0, 0, error=error, skill=skill)
  ).policy
  odds = np.exp([nats, 0, 0, 0])
  np.testing.assert_allclose(
    policy, np.tile(odds / odds.sum(), (8, 1)), atol=1e-5 if nats else 1e-3
  )


def test_gumbels_q_over_the_tree():
  """Two actions pay 1 and 0, every one after them 8, gamma 1/2; each is tried twice. Values of the
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
  search = Gumbel(rewarded_bandit(3), GAMMA, 6, qtransform="advantage", acting="sample")
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
    rewarded_bandit(3), GAMMA, 2, max_considered=1, qtransform="advantage", acting="sample"
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
