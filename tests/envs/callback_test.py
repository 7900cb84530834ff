"""What crosses between the host and the device in a callback, byte for byte."""

import jax
import numpy as np
import pytest

from muzero_jax.envs import callback, envpool
from tests.envs.envpool_test import ours, own, play, random_actions


def test_arrays_are_taken_apart_as_they_were_packed():
  """One array for each dtype that EnvPool has, with the values where bytes could be mistaken."""
  arrays = [
    np.array([[1, 255], [0, 7]], np.uint8),
    np.array([True, False, True]),
    np.array([-1, 2**31 - 1, -(2**31)], np.int32),
    np.array([[0.5], [-np.inf], [1e-38]], np.float32),
    np.array([-128, 127], np.int8),
  ]
  data = np.concatenate([x.reshape(-1).view(np.uint8) for x in arrays])
  specs = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in arrays]
  found = jax.jit(lambda data: callback.unpack(data, specs))(data)
  for got, expected in zip(found, arrays, strict=True):
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def test_every_step_is_that_of_the_custom_call():
  """All fields of 40 steps, with ends of episodes among them; there is one result, of rank 1."""
  actions = random_actions(40)
  ffi, packed = (
    play(ours(backend=backend, max_episode_steps=15), actions) for backend in ("ffi", "callback")
  )
  assert ffi.first.sum() >= 4 and ffi.last.sum() >= 4
  for name in ("frame", "reward", "discount", "first", "last"):
    np.testing.assert_array_equal(getattr(packed, name), getattr(ffi, name), err_msg=name)
  environment = ours(backend="callback")
  program = jax.make_jaxpr(environment.recv)(environment.reset(jax.random.key(0)))
  calls = [x for x in program.jaxpr.eqns if x.primitive.name == "io_callback"]
  assert len(calls) == 1 and [x.aval.ndim for x in calls[0].outvars] == [1]


@pytest.mark.parametrize("task", ["Breakout-v5", "CartPole-v1"])
def test_games_that_are_not_started_have_the_fields_of_those_that_are(task):
  sizes = dict(img_height=84, img_width=84, stack_num=1) if task == "Breakout-v5" else {}
  started = own(task) if sizes else envpool.make(task, 2).pools[0]
  unstarted = envpool.Unstarted(task, 2, **sizes)
  assert unstarted._state_keys == list(started._state_keys)
  assert unstarted.action_space.n == started.action_space.n
  assert unstarted.observation_space.shape == started.observation_space.shape
  for (name, (_, shapes, _)), (other, (_, expected, _)) in zip(
    unstarted._xla(), started._xla(), strict=True
  ):
    assert name == other
    for some, right in zip(shapes, expected, strict=True):
      assert [(np.dtype(d), list(s)) for d, s in some] == [(np.dtype(d), list(s)) for d, s in right]
