"""What every environment must do, whoever makes it: the convention of `envs/base.py`."""

import importlib.metadata
import pathlib
import tempfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.envs import catch, envpool, pure

NUM_ENVS, STEPS, SEED = 2, 80, 3
SHORT = envpool.Atari(max_episode_steps=25, noop_max=2)


def pool(task, backend):
  return envpool.make(task, NUM_ENVS, seed=SEED, backend=backend, num_threads=1, atari=SHORT)


def minatar():
  pytest.importorskip("gymnax")
  if int(importlib.metadata.version("gymnax").split(".")[0]) < 1:
    pytest.skip("gymnax below 1.0 has another interface")
  from muzero_jax.envs import gymnax

  return pure.PureEnvironment(gymnax.make("Breakout-MinAtar"), NUM_ENVS)


def jaxtari_pong():
  pytest.importorskip("jaxtari")
  from muzero_jax.envs import jaxtari
  from tests.envs.jaxtari_test import install_sprites

  with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
    install_sprites(pathlib.Path(folder), patch)
    return pure.PureEnvironment(jaxtari.make("pong", SHORT), NUM_ENVS)


def cart_pole():
  pytest.importorskip("gymnasium")
  from muzero_jax.envs import gymnasium

  return gymnasium.make("CartPole-v1", NUM_ENVS, seed=SEED)


MAKERS = {
  "catch": lambda: pure.PureEnvironment(catch.catch(), NUM_ENVS),
  "pong_ffi": lambda: pool("Pong-v5", "ffi"),
  "pong_callback": lambda: pool("Pong-v5", "callback"),
  "envpool_catch": lambda: pool("Catch-v0", "ffi"),
  "envpool_cart_pole": lambda: pool("CartPole-v1", "ffi"),
  "minatar_breakout": minatar,
  "jaxtari_pong": jaxtari_pong,
  "gymnasium_cart_pole": cart_pole,
}


def play(environment, ignored=0):
  """STEPS random steps inside jit and scan; `ignored` is added to actions chosen on an episode's
  last step.
  """
  num_actions = environment.spec.num_actions

  def step(carry, key):
    state, score = carry
    state, time = environment.recv(state, after=score)
    action = jax.random.randint(key, (NUM_ENVS,), 0, num_actions, jnp.int32)
    action = jnp.where(time.last, (action + ignored) % num_actions, action)
    return (environment.send(state, action), score + time.reward.sum()), time

  program = jax.jit(lambda state, keys: jax.lax.scan(step, (state, jnp.float32(0)), keys))
  (state, _), times = program(
    environment.reset(jax.random.key(SEED)), jax.random.split(jax.random.key(1), STEPS)
  )
  return state, jax.device_get(times)


SLOW = ("jaxtari_pong",)  # to compile
PARAMS = [pytest.param(name, marks=[pytest.mark.long] if name in SLOW else []) for name in MAKERS]


@pytest.fixture(scope="module", params=PARAMS)
def played(request):
  """A maker, an environment that it made, and what happened in it."""
  environment = MAKERS[request.param]()
  state, times = play(environment)
  return MAKERS[request.param], environment, state, times


def description(tree):
  return jax.tree.map(lambda x: (x.shape, x.dtype, getattr(x, "weak_type", False)), tree)


def test_shapes_and_dtypes(played):
  _, environment, _, times = played
  spec = environment.spec
  chex.assert_shape(times.frame, (STEPS, NUM_ENVS, *spec.frame_shape))
  chex.assert_shape([times.reward, times.discount, times.first, times.last], (STEPS, NUM_ENVS))
  chex.assert_type([times.reward, times.discount], np.float32)
  chex.assert_type([times.first, times.last], np.bool_)
  assert times.frame.dtype == spec.frame_dtype
  assert spec.num_envs == NUM_ENVS
  assert 1 not in spec.frame_shape
  assert not (times.frame == times.frame[:1]).all(), "the picture never changes"


def test_the_carry_closes_without_weak_types(played):
  """A loop over `recv` and `send` compiles once: its state keeps shapes and dtypes, and nothing is
  weakly typed.
  """
  _, environment, state, _ = played
  received, time = jax.eval_shape(environment.recv, state)
  sent = jax.eval_shape(environment.send, received, jax.ShapeDtypeStruct((NUM_ENVS,), jnp.int32))
  before = description(jax.eval_shape(lambda x: x, state))
  assert description(received) == before
  assert description(sent) == before
  assert not any(getattr(x, "weak_type", False) for x in jax.tree.leaves((received, sent, time)))


def test_a_reset_takes_a_step_of_its_own(played):
  """The step after an episode's last is a first one, and there is no other way to a first step."""
  *_, times = played
  assert times.first[0].all()
  np.testing.assert_array_equal(times.first[1:], times.last[:-1])
  assert not (times.first & times.last).any()
  assert (times.first.sum(0) >= 3).all(), "too few episodes to say anything"


def test_first_steps_have_reward_0_and_discount_1(played):
  *_, times = played
  np.testing.assert_array_equal(times.reward[times.first], 0.0)
  np.testing.assert_array_equal(times.discount[times.first], 1.0)


def test_the_discount_is_0_at_most_where_an_episode_ends(played):
  *_, times = played
  assert set(np.unique(times.discount)) <= {0.0, 1.0}
  assert (times.discount[~times.last] == 1.0).all()


def test_the_action_before_a_first_step_is_ignored(played):
  """Also says that a seed decides everything else: two runs that differ only in those actions are
  the same run.
  """
  maker, _, _, times = played
  _, other = play(maker(), ignored=1)
  chex.assert_trees_all_equal(times, other)


def test_reset_starts_every_game_anew(played):
  _, environment, _, _ = played
  for _ in range(2):
    state = environment.reset(jax.random.key(7))
    state, time = jax.jit(environment.recv)(state)
    assert time.first.all()
    assert not time.last.any()
    state = jax.jit(environment.send)(state, jnp.zeros(NUM_ENVS, jnp.int32))
