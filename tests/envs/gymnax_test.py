"""The adapter for gymnax."""

import importlib.metadata

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("gymnax")
if int(importlib.metadata.version("gymnax").split(".")[0]) < 1:
  pytest.skip("gymnax below 1.0 has another interface", allow_module_level=True)

import gymnax as library

from muzero_jax.envs import gymnax, pure
from muzero_jax.envs.base import GameError

KEY = jax.random.key(0)
LIMIT = 6


@pytest.fixture(scope="module")
def breakout():
  return gymnax.make("Breakout-MinAtar")


def play(game, steps, action, num_envs=4):
  """`action` is that of all games in all steps, or None for random ones."""
  environment = pure.PureEnvironment(game, num_envs)

  def step(state, key):
    state, time = environment.recv(state)
    chosen = jax.random.randint(key, (num_envs,), 0, game.num_actions, jnp.int32)
    return environment.send(
      state, chosen if action is None else jnp.full(num_envs, action, jnp.int32)
    ), time

  keys = jax.random.split(jax.random.key(1), steps)
  return jax.device_get(jax.jit(lambda s: jax.lax.scan(step, s, keys)[1])(environment.reset(KEY)))


def test_planes_become_bytes(breakout):
  """MinAtar's planes of 0 and 1 take a byte in the replay: u8, 0 and 255, the same picture as
  gymnax's.
  """
  env, params = library.make("Breakout-MinAtar")
  observation, _ = env.reset_env(KEY, params)
  _, frame = breakout.reset(KEY)
  assert frame.dtype == jnp.uint8 and breakout.frame_dtype == np.uint8
  assert breakout.frame_shape == (10, 10, 4)
  assert breakout.num_actions == 3
  np.testing.assert_array_equal(frame, np.where(np.asarray(observation) > 0, 255, 0))
  assert (np.asarray(frame) == 255).any()


def test_other_observations_stay_float32():
  game = gymnax.make("CartPole-v1")
  _, frame = game.reset(KEY)
  assert game.frame_shape == (4,)
  assert game.frame_dtype == np.float32 and frame.dtype == jnp.float32


def test_a_step_says_what_gymnax_says(breakout):
  """Reward and picture of a step are those that `step_env` gives for the same key, state and
  action.
  """
  env, params = library.make("Breakout-MinAtar")
  state, _ = breakout.reset(KEY)
  reference = env.reset_env(KEY, params)[1]
  for i, action in enumerate([0, 1, 2, 1]):
    key = jax.random.key(i)
    state, frame, reward, discount, last = breakout.step(key, state, jnp.int32(action))
    observation, reference, score, terminated, _ = env.step_env(
      key, reference, jnp.int32(action), params
    )
    np.testing.assert_array_equal(frame, np.where(np.asarray(observation) > 0, 255, 0))
    assert float(reward) == float(score)
    assert float(discount) == 1.0 - float(terminated)
    assert bool(last) == bool(terminated)


def test_truncated_is_not_terminated():
  """At a time limit the episode ends but the return does not: last with discount 1. CartPole
  outlives 6 steps of any action: first at 0, last at 6, first at 7.
  """
  env, params = library.make("CartPole-v1")
  times = play(gymnax.adapt(env, params.replace(max_steps_in_episode=LIMIT)), 14, action=None)
  np.testing.assert_array_equal(np.flatnonzero(times.last[:, 0]), [6, 13])
  np.testing.assert_array_equal(np.flatnonzero(times.first[:, 0]), [0, 7])
  np.testing.assert_array_equal(times.discount, 1.0)


def test_a_fallen_pole_is_terminated():
  """Pushed to one side the pole falls within some 10 steps, far below the limit of 500: discount 0
  there, 1 elsewhere.
  """
  times = play(gymnax.make("CartPole-v1"), 30, action=1)
  assert times.last.sum() >= 4
  np.testing.assert_array_equal(times.discount, 1.0 - times.last)
  np.testing.assert_array_equal(times.reward, 1.0 - times.first)


def test_unknown_task_says_what_was_meant():
  with pytest.raises(GameError, match="did you mean Breakout-MinAtar"):
    gymnax.make("Breakout-MinAtr")


def test_all_actions_of_minatar():
  """Six, whatever the game uses; other games have one set only, and say so."""
  assert gymnax.make("Breakout-MinAtar", full_action_set=True).num_actions == 6
  with pytest.raises(GameError, match=r"--env\.full_action_set: CartPole-v1"):
    gymnax.make("CartPole-v1", full_action_set=True)
