"""What holds of every search, and numbers worked by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.networks.scalars import Support
from muzero_jax.search.base import RecurrentFn, log_prob
from muzero_jax.search.gumbel import Gumbel
from muzero_jax.search.none import NoSearch
from muzero_jax.search.puct import Puct
from muzero_jax.search.random import Random
from muzero_jax.types import Model, Root
from tests.search.common import (
  BANDIT,
  DISCOUNT,
  KEY,
  ROOT,
  SEARCHES,
  SIZE,
  A,
  D,
  assert_counts,
  constant_model,
  equal_roots,
  many,
  plain,
  run,
)

with_every_search = pytest.mark.parametrize("name", list(SEARCHES))
with_trees = pytest.mark.parametrize("name", ["gumbel", "puct"])


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
  output, (hidden, depth) = RecurrentFn(model, DISCOUNT)(
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
  np.testing.assert_allclose(output.discount, np.full(3, DISCOUNT), rtol=1e-6)
  np.testing.assert_array_equal(hidden, 1)
  # One simulation of one action, which the policy then takes: reward + gamma * value.
  decision = run(Puct(model, DISCOUNT, 1), KEY, equal_roots(3, np.zeros(A), value=2.0))
  np.testing.assert_allclose(decision.value, np.full(3, -low + DISCOUNT * low), rtol=1e-5)


def test_log_prob():
  """log 1/4 and log 1/8; a probability of 0 gives something very negative, but finite."""
  policy = jnp.array([[0.25, 0.75], [0.875, 0.125], [1.0, 0.0]])
  answer = log_prob(policy, jnp.array([0, 1, 1], jnp.int32))
  np.testing.assert_allclose(answer[:2], [-2 * np.log(2), -3 * np.log(2)], rtol=1e-6)
  assert -100 < float(answer[2]) < -80


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


@pytest.mark.parametrize(
  "search", [Gumbel(corridor(), DISCOUNT, 40), Puct(corridor(), DISCOUNT, 200)]
)
def test_a_reward_two_steps_away_is_found(search):
  """Worth 0.9 * 1 against 0.1 at once, which is what one step of looking ahead would take."""
  root = Root(jnp.zeros((8, 1)), jnp.zeros((8, 3)), jnp.zeros(8))
  decision = run(search.for_evaluation(), KEY, root)
  np.testing.assert_array_equal(decision.action, 0)
  np.testing.assert_array_equal(decision.policy.argmax(-1), 0)
  assert (0.1 < decision.value).all() and (decision.value < 0.9).all()
  short = NoSearch(corridor(), DISCOUNT).for_evaluation()
  np.testing.assert_array_equal(run(short, KEY, root).action, 2)


def test_random_play():
  """Every action alike, whatever the root says."""
  decision = run(Random(), KEY, equal_roots(4000, [9.0, 0, 0, 0]))
  np.testing.assert_allclose(decision.policy, 0.25)
  np.testing.assert_allclose(decision.log_prob, np.log(0.25), rtol=1e-6)
  assert_counts(decision.action, np.full(A, 0.25))
