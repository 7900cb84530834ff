"""What searches do with a predicted uncertainty, by hand."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.search.base import decided
from muzero_jax.search.none import NoSearch
from muzero_jax.search.uncertain import Calibrated, Focused, Optimistic, optimistic
from muzero_jax.targets.returns import Returns
from muzero_jax.types import Model, Root
from tests import builders
from tests.search.common import KEY, assert_counts


def model(deviations):
  """The hidden state is a place; its value is 0.5 everywhere, its uncertainty `deviations`."""

  def step(params, hidden, action):
    return action[:, None] + 1.0, jnp.zeros((hidden.shape[0], 1))

  def predict(params, hidden):
    return jnp.zeros((hidden.shape[0], 2)), jnp.full((hidden.shape[0], 1), 0.5)

  def log_variance(params, hidden):
    return 2 * jnp.log(jnp.array(deviations)[hidden[:, 0].astype(jnp.int32)])

  return Model(
    None,
    lambda params, frames: frames[:, -1].astype(jnp.float32),
    predict,
    step,
    lambda logits: logits[..., 0],
    lambda x: jnp.exp(x)[..., None],
    log_variance=log_variance,
  )


def roots(*places):
  size = len(places)
  hidden = jnp.array(places, jnp.float32)[:, None]
  return Root(hidden, jnp.tile(jnp.log(jnp.array([0.25, 0.75])), (size, 1)), jnp.full(size, 0.5))


def test_the_bonus():
  """0.5 + 2 * 3."""
  _, value = optimistic(model([1.0, 3.0]), 2.0).predict({}, jnp.array([[1.0]]))
  np.testing.assert_allclose(value, [[6.5]], rtol=1e-6)


def test_optimism_prefers_what_is_uncertain():
  """Values behind both actions are the same, and the second is less certain by 0.4: a bonus of half
  of that, 0.2 times the discount 1/2, over the scale 0.1, is one more nat for its odds of 3. What
  is recorded, evaluated and reanalyzed has no bonus.
  """
  sure = model([1.0, 0.1, 0.5])
  plain = NoSearch(sure, 0.5, scale=0.1, clip=9.0)
  high = NoSearch(optimistic(sure, 0.5), 0.5, scale=0.1, clip=9.0)
  search = Optimistic(high, plain, sure, 0.5)
  decision = search({}, KEY, roots(0))
  np.testing.assert_allclose(decision.policy[0, 1] / decision.policy[0, 0], 3 * np.e, rtol=1e-4)
  np.testing.assert_allclose(decision.value, 0.5)
  assert search.for_reanalysis() == plain and search.for_evaluation() == plain.for_evaluation()


@dataclasses.dataclass(frozen=True)
class Told:
  """A search that takes action 7 and says that all values are the places; 8 simulations."""

  simulations: int = 8

  def __call__(self, params, key, root):
    size = root.value.shape[0]
    policy = jnp.tile(jnp.array([0.0, 1.0]), (size, 1))
    depth = jnp.full(size, 5.0)
    decision = decided(jnp.zeros(size), policy, root.hidden[:, 0], policy, policy, depth)
    return dataclasses.replace(decision, action=jnp.full(size, 7, jnp.int32))


@pytest.mark.parametrize(
  ("places", "searched"),
  [([0, 1, 2, 3], [1, 3]), ([3, 2, 1, 0], [3, 1]), ([2, 1, 0], [0, 1]), ([2], [2])],
)
def test_the_less_certain_half_is_searched(places, searched):
  """Of an odd number, the larger half. Each root gets its own decision."""
  search = Focused(Told(), NoSearch(model([1.0]), 0.5), model([0.3, 0.9, 0.1, 0.5]))
  assert search.simulations == 4
  decision = search({}, KEY, roots(*places))
  expected = [place in searched for place in places]
  np.testing.assert_array_equal(decision.action == 7, expected)
  np.testing.assert_allclose(decision.value, np.where(expected, places, 0.5))
  np.testing.assert_array_equal(decision.depth, np.where(expected, 5, 0))


def test_the_others_act_by_the_policy():
  search = Focused(Told(), NoSearch(model([1.0]), 0.5), model([0.1, 0.9]))
  decision = search({}, KEY, roots(*[0] * 4000, *[1] * 4000))
  assert_counts(np.asarray(decision.action[:4000]), [0.25, 0.75])
  chosen = np.array([0.25, 0.75])[decision.action[:4000]]
  np.testing.assert_allclose(decision.log_prob[:4000], np.log(chosen), rtol=1e-5)
  np.testing.assert_allclose(decision.policy[0], [0.25, 0.75], rtol=1e-5)
  np.testing.assert_array_equal(decision.advantage[:4000], 0)


def test_calibration_by_hand():
  """The value is 1/2 everywhere. Two examples at the places 1 and 2, with the uncertainties 1 and
  2 and the returns 3.5 and 2.5: squared errors 9 and 4. The slope of (9, 4) on (1, 4) is
  (9 + 16) / (1 + 16). A third one is at the end of its episode and does not count.
  """
  frames = np.zeros((3, 4, 1), np.uint8)
  frames[:, 0, 0] = [1, 2, 1]
  example = builders.example(
    3,
    frames=frames,
    reward=np.array([[3.5, 0, 0], [2.5, 0, 0], [9, 0, 0]]),
    discount=0,
    last=np.array([[0, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]], bool),
  )
  ring = types.SimpleNamespace(
    unroll=2, stack=1, completed=lambda replay: (example, jnp.asarray(True))
  )
  monitor = Calibrated(model([9.0, 1.0, 2.0]), ring, Returns(1, 0.9, clip_rewards=False))
  found = jax.tree.map(np.asarray, monitor({}, None, None, None))
  np.testing.assert_allclose(found["search/uncertainty_squared"], [5, 2], rtol=1e-5)
  np.testing.assert_allclose(found["search/uncertainty_error"], [13, 2], rtol=1e-5)
  np.testing.assert_allclose(found["search/uncertainty_slope"], [25, 17], rtol=1e-5)
