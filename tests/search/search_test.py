"""The searches: against mctx called by hand, and against numbers worked by hand."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pytest

from muzero_jax.networks.scalars import Support
from muzero_jax.search.base import ModelInTree, log_prob
from muzero_jax.search.gumbel import Gumbel
from muzero_jax.search.none import NoSearch
from muzero_jax.search.puct import Puct, qtransform_over_tree
from muzero_jax.search.random import Random
from muzero_jax.types import Model, Root

KEY = jax.random.key(0)
A, D = 4, 3
GAMMA = 0.9


def plain(step, predict):
  """A model without an encoder whose logits of scalars are the scalars themselves, f32[N, 1]."""
  return Model(None, None, predict, step, lambda logits: logits[..., 0], None)


def arbitrary_model():
  """Tells states and actions apart; the same for every batch element."""
  random = np.random.RandomState(0)
  mix, embed, policy, value, reward = (
    jnp.asarray(random.randn(*shape), jnp.float32) for shape in ((D, D), (A, D), (D, A), (D, 1), (D, 1))
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
  one = Root(*(jnp.asarray(random.randn(*shape), jnp.float32) for shape in ((20, D), (20, A), (20,))))
  return jax.tree.map(lambda x: jnp.concatenate([x, x]), one)


ROOT = arbitrary_root()
SIZE = 40


@functools.cache
def constant_model(value, num_actions=A):
  """No rewards, and the same value everywhere."""

  def predict(params, hidden):
    return jnp.zeros((hidden.shape[0], num_actions)), jnp.full((hidden.shape[0], 1), value, jnp.float32)

  return plain(lambda params, hidden, action: (hidden, jnp.zeros((hidden.shape[0], 1))), predict)


def bandit_model():
  """The first action is rewarded as the parameters f32[3] say, nothing after it."""

  def step(params, hidden, action):
    return hidden + 1, jnp.where(hidden[:, :1] == 0, params[action][:, None], 0.0)

  return plain(step, lambda params, hidden: (jnp.zeros((hidden.shape[0], 3)), jnp.zeros((hidden.shape[0], 1))))


BANDIT = bandit_model()


def equal_roots(size, logits, value=0.0):
  logits = jnp.asarray(logits, jnp.float32)
  return Root(jnp.zeros((size, D)), jnp.tile(logits, (size, 1)), jnp.full(size, value, jnp.float32))


SEARCHES = {
  "gumbel": Gumbel(MODEL, GAMMA, 8),
  "puct": Puct(MODEL, GAMMA, 8),
  "none": NoSearch(MODEL, GAMMA),
  "random": Random(),
}
with_every_search = pytest.mark.parametrize("name", list(SEARCHES))
with_trees = pytest.mark.parametrize("name", ["gumbel", "puct"])


FAST = {"xla_backend_optimization_level": 0}
# One program for all tests with the same search and sizes, compiled fast rather than well.
PROGRAM = jax.jit(
  lambda search, params, key, root: search(params, key, root),
  static_argnums=0,
  compiler_options=FAST,
)


def run(search, key, root, params=None):
  return jax.device_get(PROGRAM(search, {} if params is None else jnp.asarray(params, jnp.float32), key, root))


def compiled(fn):
  """The result of `fn` (mctx, called by hand)."""
  return jax.device_get(jax.jit(fn, compiler_options=FAST)())


def many(search, root):
  """Decisions for 4 keys, [4, B, ...]."""
  decisions = [run(search, jax.random.key(i), root) for i in range(4)]
  return jax.tree.map(lambda *x: np.stack(x), *decisions)


def assert_counts(action, shares):
  """How often each action was taken is within 5 sigma of a binomial with the given share."""
  shares = np.asarray(shares, np.float64)
  counts = np.bincount(action, minlength=shares.size)
  np.testing.assert_array_equal(counts[shares == 0], 0)
  sigma = np.sqrt(action.size * shares * (1 - shares))
  np.testing.assert_array_less(np.abs(counts - action.size * shares), 5 * sigma + 1e-3, err_msg=str(counts))


def for_mctx(params, key, action, hidden):
  """MODEL as mctx wants it, once more, by hand."""
  del params, key
  hidden, reward = MODEL.step({}, hidden, action)
  logits, value = MODEL.predict({}, hidden)
  discount = jnp.full(action.shape[0], GAMMA)
  return mctx.RecurrentFnOutput(reward=reward[:, 0], discount=discount, prior_logits=logits, value=value[:, 0]), hidden


MCTX_ROOT = mctx.RootFnOutput(prior_logits=ROOT.policy_logits, value=ROOT.value, embedding=ROOT.hidden)


@pytest.mark.parametrize("tree", ["mctx", "batched"])
def test_gumbel_is_mctx(tree):
  """Acts with the survivor of the halving; the target is softmax(logits + sigma(completed Q)); no Dirichlet noise on top."""
  simulations = 20
  settings = dict(max_considered=3, value_scale=0.2, visit_offset=30.0, epsilon=0.05, max_depth=4, gumbel_scale=0.7)
  settings["tree"] = tree
  decision = run(Gumbel(MODEL, GAMMA, simulations, **settings), KEY, ROOT)
  transform = functools.partial(mctx.qtransform_completed_by_mix_value, value_scale=0.2, maxvisit_init=30.0, epsilon=0.05)
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
  np.testing.assert_allclose(decision.value, output.search_tree.node_values[:, 0], rtol=1e-5, atol=1e-6)
  # The target, from the finished tree alone.
  sigma = jax.vmap(lambda tree: transform(tree, jnp.int32(0)))(output.search_tree)
  np.testing.assert_allclose(decision.policy, jax.nn.softmax(ROOT.policy_logits + sigma), rtol=1e-4)


@pytest.mark.parametrize(
  ("qtransform", "function", "temperature"),
  [("node", mctx.qtransform_by_parent_and_siblings, 1.0), ("tree", qtransform_over_tree, 0.5)],
)
def test_puct_is_mctx(qtransform, function, temperature):
  """mctx's default transform of Q is per node, the paper's over the whole tree: it is a setting."""
  settings = dict(pb_c_init=1.5, pb_c_base=1000.0, dirichlet_alpha=0.5, dirichlet_fraction=0.3, max_depth=4)
  decision = run(Puct(MODEL, GAMMA, 20, qtransform=qtransform, temperature=temperature, **settings), KEY, ROOT)
  output = compiled(
    lambda: mctx.muzero_policy({}, KEY, MCTX_ROOT, for_mctx, 20, qtransform=function, temperature=temperature, **settings)
  )
  np.testing.assert_array_equal(decision.action, output.action)
  np.testing.assert_allclose(decision.policy, output.action_weights, rtol=1e-5)
  np.testing.assert_allclose(decision.value, output.search_tree.node_values[:, 0], rtol=1e-5, atol=1e-6)


def test_the_qtransform_is_a_setting_that_matters():
  """The two transforms search differently somewhere among the roots."""
  node, tree = (run(Puct(MODEL, GAMMA, 8, qtransform=q).for_evaluation(), KEY, ROOT).policy for q in ("node", "tree"))
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
  """A model whose values are all 3, with discount 1 and no rewards, has search value 3: an average without the root's own value
  would be 3 N / (N + 1)."""
  search = dataclasses.replace(SEARCHES[name], model=constant_model(3.0), gamma=1.0)
  np.testing.assert_array_equal(run(search, KEY, equal_roots(2, np.zeros(A), value=3.0)).value, 3.0)


@pytest.mark.parametrize("name", ["gumbel", "puct", "none", "random"])
def test_every_root_and_every_key_has_its_own_noise(name):
  """Fresh noise for each root and each step: equal roots of one batch act differently, and so does one root under two keys."""
  search = SEARCHES[name]
  if name != "random":
    search = dataclasses.replace(search, model=constant_model(0.0))
  root = equal_roots(4000, np.zeros(A))
  one, same, other = (run(search, jax.random.key(k), root).action for k in (0, 0, 1))
  assert len(set(one.tolist())) == A
  np.testing.assert_array_equal(one, same)
  assert (one != other).any()


def test_gumbel_noise_samples_from_the_prior():
  """Noise ~ Gumbel(0, 1): where all actions are worth the same, the survivor is a sample of the prior."""
  prior = np.array([0.5, 0.3, 0.15, 0.05])
  assert_counts(run(Gumbel(constant_model(0.0), GAMMA, 8), KEY, equal_roots(4000, np.log(prior))).action, prior)


def test_a_prior_to_a_power_below_1_is_forgotten():
  """Odds of 16 to 1 to the power 1/2 are 4 to 1 where all actions are worth the same; the actions taken follow. A difference of Q of
  epsilon, 51 visits' worth of 0.1 each, that stays for ever adds up to 5.1 / (1 - 1/2) = 10.2 of logits, and not without bound."""
  search = Gumbel(constant_model(0.0, 2), GAMMA, 2, prior_exponent=0.5)
  decision = run(search, KEY, equal_roots(4000, np.log([16.0, 1.0])))
  np.testing.assert_allclose(decision.policy, np.tile([0.8, 0.2], (4000, 1)), rtol=1e-5)
  assert_counts(decision.action, [0.8, 0.2])
  search, logits = Gumbel(BANDIT, GAMMA, 3, epsilon=1e-3, prior_exponent=0.5, gumbel_scale=0.0), jnp.zeros((1, 3))
  for _ in range(30):
    policy = run(search, KEY, equal_roots(1, logits[0]), [1.0, 0.0, 0.0]).policy
    logits = jnp.log(policy)
  np.testing.assert_allclose(logits[0, 0] - logits[0, 1], 10.2, rtol=1e-3)


def test_gumbels_policy_target_has_no_noise():
  """The target comes from logits and Q. Where every action is visited and every Q the same, it is the prior, whatever the noise."""
  prior = np.array([0.5, 0.3, 0.15, 0.05], np.float32)
  policies = run(Gumbel(constant_model(0.0), GAMMA, 8), KEY, equal_roots(4000, np.log(prior))).policy
  np.testing.assert_allclose(policies, np.broadcast_to(prior, policies.shape), rtol=1e-5)


@pytest.mark.parametrize(
  ("name", "rewards"), [("gumbel", [0, 0, 0]), ("gumbel", [1, 1, 0]), ("puct", [0, 0, 0]), ("none", [0, 0, 0]), ("none", [1, 1, 0])]
)
def test_ties_are_broken_at_random_in_evaluation(name, rewards):
  """With a zero-initialised policy head all actions tie: not the lowest index wins, but the best share alike."""
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
  """No Gumbel and no Dirichlet noise: where nothing ties, every key and every place in the batch gives the same decision."""
  decisions = many(SEARCHES[name].for_evaluation(), ROOT)
  decisions = jax.tree.map(lambda x: x.reshape(8, 20, *x.shape[2:]), decisions)
  np.testing.assert_allclose(decisions.policy, np.broadcast_to(decisions.policy[:1], decisions.policy.shape), atol=1e-4)
  np.testing.assert_allclose(decisions.value, np.broadcast_to(decisions.value[:1], decisions.value.shape), atol=1e-4)
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
  """8 simulations try all 3 actions. Rewards 0 and 1 stretch Q to 0 and 1, times at least c_visit * c_scale = 5: a reward outweighs
  log-odds of 3, but not of 30."""
  search = dataclasses.replace(SEARCHES["gumbel"], model=BANDIT).for_evaluation()
  for odds, best in ((0.0, 2), (3.0, 2), (30.0, 0)):
    np.testing.assert_array_equal(run(search, KEY, equal_roots(4000, [odds, 0, 0]), [0, 0, 1]).action, best)


def test_puct_has_dirichlet_noise_in_self_play_only():
  """Never in evaluation, never in reanalysed targets: those visit as mctx does with a fraction of 0."""
  search = SEARCHES["puct"]
  assert (many(search, ROOT).policy.std(0) > 0).any()
  output = compiled(
    lambda: mctx.muzero_policy({}, KEY, MCTX_ROOT, for_mctx, 8, qtransform=qtransform_over_tree, dirichlet_fraction=0.0)
  )
  for variant in (search.for_evaluation(), search.for_reanalysis()):
    policies = many(variant, ROOT).policy
    np.testing.assert_allclose(policies, np.broadcast_to(output.action_weights, policies.shape), atol=1e-6)


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_pucts_target_is_the_visit_distribution_whatever_the_temperature(temperature):
  """Temperature acts on the action alone; `log_prob` is that of visits^(1 / temperature), normalised."""
  one = run(SEARCHES["puct"], KEY, ROOT)
  decision = run(dataclasses.replace(SEARCHES["puct"], temperature=temperature), KEY, ROOT)
  np.testing.assert_array_equal(decision.policy, one.policy)
  visits = decision.policy * 8  # 8 simulations: whole numbers
  np.testing.assert_allclose(visits, np.round(visits), atol=1e-5)
  best = visits == visits.max(-1, keepdims=True)
  powers = best if temperature == 0 else np.round(visits) ** (1 / temperature)
  behaviour = powers / powers.sum(-1, keepdims=True)
  chosen = behaviour[np.arange(SIZE), decision.action]
  assert (chosen > 0).all()
  np.testing.assert_allclose(decision.log_prob, np.log(chosen), rtol=1e-4, atol=1e-5)


def test_pucts_temperature_acts_on_the_action():
  """Equal roots without noise: at temperature 1 each action is taken as often as it was visited."""
  search = Puct(BANDIT, GAMMA, 9).for_reanalysis()
  decision = run(search, KEY, equal_roots(4000, np.log([0.5, 0.3, 0.2])), [0, 0.1, 1])
  shares = decision.policy[0]
  assert (decision.policy == shares).all() and 0 < shares[1] < 1
  assert_counts(decision.action, shares)


class MinMaxStats:
  """The smallest and largest Q of a tree, as MuZero's paper has them (appendix B, eq. 5)."""

  def __init__(self):
    self.minimum, self.maximum = float("inf"), -float("inf")

  def update(self, value):
    self.minimum, self.maximum = min(self.minimum, value), max(self.maximum, value)

  def normalize(self, value):
    return (value - self.minimum) / (self.maximum - self.minimum) if self.maximum > self.minimum else value


def tree_of(visits, rewards, values, discount):
  """An unbatched tree of mctx with the given edges, [nodes, actions]; all that a transform of Q looks at."""
  visits, rewards, values = (np.asarray(x, np.float32) for x in (visits, rewards, values))
  nodes, actions = visits.shape
  zeros = jnp.zeros(nodes)
  return mctx.Tree(
    node_visits=jnp.ones(nodes, jnp.int32),
    raw_values=zeros,
    node_values=zeros,
    parents=jnp.zeros(nodes, jnp.int32),
    action_from_parent=jnp.zeros(nodes, jnp.int32),
    children_index=jnp.full((nodes, actions), -1, jnp.int32),
    children_prior_logits=jnp.zeros((nodes, actions)),
    children_visits=jnp.asarray(visits, jnp.int32),
    children_rewards=jnp.asarray(rewards),
    children_discounts=jnp.full((nodes, actions), discount),
    children_values=jnp.asarray(values),
    embeddings=jnp.zeros((nodes, 1)),
    root_invalid_actions=jnp.zeros(actions),
    extra_data=None,
  )


def test_qtransform_over_tree_by_hand():
  """Root edges: Q = 1 + 0.5 * 2 = 2, and 0 + 0.5 * -4 = -2; below the first: Q = 4 + 0 = 4; the third edges are unvisited and 100.
  Extremes of the tree: -2 and 4. Root: (2 + 2) / 6 = 2/3, 0, 0; below: (4 + 2) / 6 = 1, 0, 0. Among siblings 2 would be 1."""
  visits = [[2, 1, 0], [1, 0, 0]]
  rewards = [[1, 0, 100], [4, 100, 0]]
  values = [[2, -4, 0], [0, 0, 100]]
  tree = tree_of(visits, rewards, values, 0.5)
  np.testing.assert_allclose(qtransform_over_tree(tree, jnp.int32(0)), [2 / 3, 0, 0], rtol=1e-6)
  np.testing.assert_allclose(qtransform_over_tree(tree, jnp.int32(1)), [1, 0, 0], rtol=1e-6)


def test_qtransform_over_tree_is_muzeros_min_max():
  """Against plain Python on a random tree; negative Q, unvisited edges and nodes without children included."""
  random = np.random.RandomState(0)
  visits = random.randint(0, 3, (6, A))
  visits[4] = 0
  rewards, values = random.randn(6, A), 10 * random.randn(6, A)
  stats = MinMaxStats()
  for i, a in zip(*visits.nonzero(), strict=True):
    stats.update(rewards[i, a] + GAMMA * values[i, a])
  tree = tree_of(visits, rewards, values, GAMMA)
  for i in range(6):
    expected = [stats.normalize(rewards[i, a] + GAMMA * values[i, a]) if visits[i, a] else 0.0 for a in range(A)]
    np.testing.assert_allclose(qtransform_over_tree(tree, jnp.int32(i)), expected, atol=1e-5)


@pytest.mark.parametrize("visits", [np.zeros((3, A)), np.eye(3, A)])
def test_qtransform_over_tree_without_extremes(visits):
  """Nothing visited, or all Q the same (7): finite zeros, no 0 / 0."""
  scores = qtransform_over_tree(tree_of(visits, np.full((3, A), 7.0), np.zeros((3, A)), GAMMA), jnp.int32(0))
  np.testing.assert_array_equal(scores, np.zeros(A))


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
  """Categorical predictions are decoded: the expectation in transformed space, transformed back. Half on bin 1 and half on bin 2:
  h(x) = 1.5, where h(x) = sqrt(x + 1) - 1 + x / 1000. x = 5.23: sqrt(6.23) = 2.4960, so 1.4960 + 0.0052 = 1.5012; x = 5.2238:
  sqrt(6.2238) = 2.49475, + 0.00522 - 1 = 1.49997. A reward: half on -1 and half on -2, so the same below zero."""
  support = Support(5)  # bins -5 .. 5
  halves = np.full(11, -np.inf)
  halves[[6, 7]] = np.log(0.5)  # bins 1 and 2
  up, down = jnp.asarray(halves, jnp.float32), jnp.asarray(halves[::-1].copy(), jnp.float32)

  def predict(params, hidden):
    return jnp.zeros((hidden.shape[0], A)), jnp.tile(up, (hidden.shape[0], 1))

  def step(params, hidden, action):
    return hidden + 1, jnp.tile(down, (hidden.shape[0], 1))

  model = Model(None, None, predict, step, support.decode, None)
  output, (hidden, depth) = ModelInTree(model, GAMMA)({}, KEY, jnp.zeros(3, jnp.int32), (jnp.zeros((3, D)), jnp.array([0.0, 1.0, 4.0])))
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
  # One simulation of one action: (root's value + reward + gamma * value) / 2.
  decision = run(Puct(model, GAMMA, 1), KEY, equal_roots(3, np.zeros(A), value=2.0))
  np.testing.assert_allclose(decision.value, np.full(3, (2.0 - low + GAMMA * low) / 2), rtol=1e-5)


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
  """Q = r + v / 2 = 1, 1, 2; the prior's expectation 1/2 + 1/4 + 1/2 = 5/4; advantages -1/4, -1/4, 3/4; over a scale of 1/4:
  -1, -1, 3, clipped at 2: -1, -1, 2. Odds: 1/2 e^-1, 1/4 e^-1, 1/4 e^2."""
  search, root = cmpo(scale=0.25, clip=2.0)
  odds = np.array([0.5 * np.exp(-1), 0.25 * np.exp(-1), 0.25 * np.exp(2)])
  decision = run(search, KEY, root)
  np.testing.assert_allclose(decision.policy, np.tile(odds / odds.sum(), (2, 1)), rtol=1e-5)
  np.testing.assert_allclose(decision.value, [1.25, 2.25], rtol=1e-6)
  # Self-play samples from the prior, and says so.
  np.testing.assert_allclose(decision.log_prob, np.log(np.array([0.5, 0.25, 0.25]))[decision.action], rtol=1e-5)
  greedy = run(search.for_evaluation(), KEY, root)
  np.testing.assert_array_equal(greedy.action, [2, 2])
  np.testing.assert_allclose(greedy.log_prob, np.log(odds[2] / odds.sum()), rtol=1e-5)
  np.testing.assert_array_equal(greedy.policy, decision.policy)


def test_no_search_samples_from_the_prior():
  prior = [0.5, 0.3, 0.2]
  assert_counts(run(NoSearch(BANDIT, GAMMA), KEY, equal_roots(4000, np.log(prior)), [0, 0, 9]).action, prior)


def corridor():
  """From the start 0, action 0 leads to the door 1, 1 to a dead end 2, and 2 to it as well, with a reward of 0.1. At the door,
  action 1 is rewarded with 1. The networks know nothing: all values 0, all actions alike."""
  places = jnp.array([[1, 2, 2], [2, 2, 2], [2, 2, 2]])
  rewards = jnp.array([[0, 0, 0.1], [0, 1, 0], [0, 0, 0]], jnp.float32)

  def step(params, hidden, action):
    place = hidden[:, 0].astype(jnp.int32)
    return places[place, action].astype(jnp.float32)[:, None], rewards[place, action][:, None]

  return plain(step, lambda params, hidden: (jnp.zeros((hidden.shape[0], 3)), jnp.zeros((hidden.shape[0], 1))))


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
