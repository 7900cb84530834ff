"""Effects of actions on the value, on recordings made by hand, and ways to act."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.evaluation import effects
from muzero_jax.search.random import Random
from muzero_jax.targets.returns import Returns
from muzero_jax.types import Model, Root
from tests.evaluation.probe_test import model, recording


def values(knows_action: bool) -> Model:
  """The value of a hidden state is the state; rewards are predicted to be 0."""
  known = model(knows_action)
  return known._replace(
    step=lambda params, hidden, action: (known.step(params, hidden, action)[0], 0 * hidden),
    predict=lambda params, hidden: (hidden, hidden),
    decode=lambda logits: logits[..., 0],
  )


@pytest.mark.parametrize("ahead", [1, 3])
def test_effects_of_actions_that_the_model_knows(ahead):
  """Byte 0 grows by the actions, each 1 or 3; so does the value. Against random actions from 0 to
  3, whatever their mean, predictions are right: the slope is 1. A reward of 2 that the model does
  not predict adds 2 per step to y only, and shrinks the slope by 2 E[x] / E[x^2], at no discount.
  """
  made = recording()
  returns = Returns(discount=1.0, clip_rewards=False)
  found = effects.value_effect(values(True), {}, made, jax.random.key(0), returns, ahead)
  np.testing.assert_allclose([found.slope, found.error], [1, 0], atol=1e-4)
  assert 0.5 < found.predicted < 4 * ahead
  rewarded = dataclasses.replace(made, reward=made.reward + 2)
  changed = effects.value_effect(values(True), {}, rewarded, jax.random.key(0), returns, ahead)
  assert abs(changed.slope - 1) > 0.01
  clipped = effects.value_effect(
    values(True), {}, rewarded, jax.random.key(0), Returns(discount=1.0), ahead
  )
  np.testing.assert_allclose(clipped.slope - 1, (changed.slope - 1) / 2, rtol=1e-3)


def test_effects_that_the_model_does_not_know():
  """Where predictions are the same for all actions, no effect is predicted."""
  returns = Returns(discount=1.0, clip_rewards=False)
  found = effects.value_effect(values(False), {}, recording(), jax.random.key(0), returns, 2)
  np.testing.assert_allclose(found.predicted, 0, atol=1e-5)


def test_jackknife_by_hand():
  """Slopes without one group: (2+3)/2, (1+3)/2, (1+2)/2 = 2.5, 2, 1.5; of all: 6/3 = 2. Their mean
  is 2, the error sqrt(2/3 (0.25 + 0 + 0.25)) = sqrt(1/3).
  """
  slope, error = effects.jackknife(np.array([1.0, 2.0, 3.0]), np.ones(3))
  np.testing.assert_allclose([slope, error], [2, np.sqrt(1 / 3)])


def test_ways_to_act():
  """Three actions with logits 0, 2, 1, of which the model says that the first is worth most."""
  root = Root(jnp.zeros((2, 1)), jnp.asarray([[0.0, 2.0, 1.0]] * 2), jnp.zeros(2))
  known = values(True)._replace(
    step=lambda params, hidden, action: (hidden - action[:, None], 0 * hidden),
    predict=lambda params, hidden: (jnp.zeros((len(hidden), 3)), hidden),
  )
  found = effects.actors(known, Random(), 1.0)
  actions = {name: act({}, jax.random.key(0), root).tolist() for name, act in found.items()}
  assert actions["network's policy, best action"] == [1, 1]
  assert actions["best Q of one step of the model"] == [0, 0]
  assert set(actions["network's policy, sampled"]) <= {0, 1, 2}
  assert actions["search, as in training"] == actions["search, as in evaluation"]  # both random


def test_reward_rate_by_hand():
  """Environments with 1, 1, 1 and 3 rewards in 60 steps: 16.7 and 50 per 1,000; mean 25, standard
  deviation 16.7, of which half is the error.
  """
  reward = np.zeros((60, 4), np.float32)
  reward[0], reward[1:3, 3] = 1, 1
  found = effects.reward_rate(dataclasses.replace(recording(), reward=reward))
  np.testing.assert_allclose(found, [25, 1000 / 60 / 2], rtol=1e-5)


def test_tables():
  shown = effects.table({3: effects.Effect(0.0625, 0.5, 0.25)})
  assert "| 3 | 0.062 | 0.50 ± 0.25 |" in shown
  assert "| Q | -1.00 ± 0.50 |" in effects.rates_table({"Q": (-1.0, 0.5)})
