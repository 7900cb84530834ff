"""Returns against sums written out by hand and against a plain-Python walk forward."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.targets.returns import horizon, lambda_returns, n_step_returns


def vector(*numbers):
  return jnp.array(numbers, jnp.float32)


def walk(reward, discount, value, last, start, n, td_lambda):
  """The return from `start`, by recursion forward in time; index i holds what belongs to step
  i+1.
  """
  r, d, v = reward[start], discount[start], value[start]
  if n == 1 or last[start]:
    return r + d * v
  return r + d * (
    (1 - td_lambda) * v
    + td_lambda * walk(reward, discount, value, last, start + 1, n - 1, td_lambda)
  )


@functools.partial(jax.jit, static_argnames=("n", "count", "td_lambda"))
def jitted(reward, discount, value, last, n, count, td_lambda=1.0):
  return n_step_returns(reward, discount, value, last, n=n, count=count, td_lambda=td_lambda)


def test_mixing_one_sums_all_rewards_and_bootstraps_at_the_end():
  found = lambda_returns(vector(1, 2, 4), vector(0.5, 0.5, 0.5), vector(9, 9, 16), vector(1, 1, 1))
  # G_2 = 4 + 16/2 = 12; G_1 = 2 + 12/2 = 8; G_0 = 1 + 8/2 = 5.
  np.testing.assert_array_equal(found, [5, 8, 12])


def test_mixing_zero_bootstraps_at_every_step():
  found = lambda_returns(vector(1, 2, 4), vector(0.5, 0.5, 0.5), vector(8, 12, 16), vector(0, 0, 0))
  # 1 + 8/2, 2 + 12/2, 4 + 16/2.
  np.testing.assert_array_equal(found, [5, 8, 12])


def test_mixing_in_between_is_the_recursion():
  found = lambda_returns(vector(1, 2), vector(0.5, 0.5), vector(8, 16), vector(0.25, 0.25))
  # G_1 = 2 + 16/2 = 10 (the last step always bootstraps); G_0 = 1 + (0.75 * 8 + 0.25 * 10)/2 = 1 +
  # 8.5/2.
  np.testing.assert_array_equal(found, [5.25, 10])


def test_last_mixing_entry_is_taken_as_zero():
  inputs = vector(1, 2), vector(0.5, 0.5), vector(8, 16)
  np.testing.assert_array_equal(
    lambda_returns(*inputs, vector(0.25, 0)), lambda_returns(*inputs, vector(0.25, 1))
  )


def test_every_return_is_over_the_full_n_steps():
  """The horizon does not shrink along the unroll: the last of `count` returns looks as far ahead as
  the first.
  """
  reward, value, half = vector(1, 2, 4, 8), vector(16, 32, 64, 128), vector(0.5, 0.5, 0.5, 0.5)
  found = jitted(reward, half, value, jnp.zeros(4, bool), n=2, count=3)
  # 1 + 2/2 + 32/4, 2 + 4/2 + 64/4, 4 + 8/2 + 128/4.
  np.testing.assert_array_equal(found, [10, 20, 40])


def test_bootstrap_weighs_gamma_to_the_n_and_nothing_else():
  """The horizon does not shrink: d G_i / d v_j is gamma^n exactly where j = i + n."""
  jacobian = jax.jacobian(
    lambda v: n_step_returns(jnp.zeros(5), jnp.full(5, 0.5), v, jnp.zeros(5, bool), n=3, count=3)
  )
  # Entry j of the values is v_{j+1}, so G_i hangs on column i+2, with weight 1/8.
  expected = [[0, 0, 0.125, 0, 0], [0, 0, 0, 0.125, 0], [0, 0, 0, 0, 0.125]]
  np.testing.assert_array_equal(jacobian(jnp.ones(5)), expected)


def test_one_step_returns():
  found = jitted(
    vector(1, 2, 4), vector(0.5, 0.5, 0.5), vector(8, 16, 32), jnp.zeros(3, bool), n=1, count=3
  )
  np.testing.assert_array_equal(found, [1 + 4, 2 + 8, 4 + 16])


def test_terminal_discount_ends_the_return():
  """After the end nothing of the next episode leaks in: rewards and values behind a discount of 0
  do not count.
  """
  reward, value = vector(1, 2, 1000, 1000), vector(1000, 1000, 1000, 1000)
  found = jitted(
    reward, vector(0.5, 0, 0.5, 0.5), value, jnp.array([False, True, False, False]), n=3, count=2
  )
  # 1 + 2/2; 2.
  np.testing.assert_array_equal(found, [2, 2])


def test_truncated_is_not_terminated():
  """Truncated is not terminated: at a time limit the return bootstraps from that step's own value,
  and goes no further.
  """
  reward, value = vector(1, 2, 1000, 1000), vector(1000, 8, 1000, 1000)
  half = vector(0.5, 0.5, 0.5, 0.5)
  found = jitted(reward, half, value, jnp.array([False, True, False, False]), n=3, count=2)
  # 1 + 2/2 + 8/4; 2 + 8/2.
  np.testing.assert_array_equal(found, [4, 6])


def test_td_lambda_by_hand():
  """TD(lambda) over n steps is the mixture of the 1- and 2-step returns with weights 1 - lambda and
  lambda.
  """
  found = jitted(
    vector(1, 2), vector(0.5, 0.5), vector(8, 16), jnp.zeros(2, bool), n=2, count=1, td_lambda=0.75
  )
  # G^1 = 1 + 8/2 = 5; G^2 = 1 + 2/2 + 16/4 = 6; 0.25 * 5 + 0.75 * 6.
  np.testing.assert_array_equal(found, [5.75])


def test_td_lambda_zero_is_td_zero():
  found = jitted(
    vector(1, 2, 4),
    vector(0.5, 0.5, 0.5),
    vector(8, 16, 32),
    jnp.zeros(3, bool),
    n=3,
    count=1,
    td_lambda=0.0,
  )
  np.testing.assert_array_equal(found, [1 + 4])


def test_td_lambda_stops_at_a_truncation():
  """Truncated is not terminated, with a td_lambda below 1 too: the whole rest of the weight
  bootstraps at the time limit.
  """
  last = jnp.array([False, True, False])
  found = jitted(
    vector(1, 2, 1000),
    vector(0.5, 0.5, 0.5),
    vector(8, 16, 1000),
    last,
    n=3,
    count=1,
    td_lambda=0.75,
  )
  # G_1 = 2 + 16/2 = 10; G_0 = 1 + (0.25 * 8 + 0.75 * 10)/2.
  np.testing.assert_array_equal(found, [5.75])


def test_discount_is_per_agent_step():
  """Discount is per agent step: at 0.997**4 two steps weigh the bootstrap 0.997**8, whatever the
  frame skip was.
  """
  gamma = 0.997**4
  found = jitted(
    vector(0, 0), vector(gamma, gamma), vector(0, 100), jnp.zeros(2, bool), n=2, count=1
  )
  # 0.997**2 = 0.994009, squared 0.98805389, squared 0.97625050; the value behind two steps is 100.
  np.testing.assert_allclose(found, [97.62505], rtol=1e-6)


@pytest.mark.parametrize("td_lambda", [1.0, 0.75, 0.0])
def test_agrees_with_a_walk_forward(td_lambda):
  """On streams with terminations, truncations and lost lives, every return is what a plain walk
  forward collects.
  """
  random = np.random.default_rng(0)
  for _ in range(5):
    reward, value = random.normal(size=(2, 9)).astype(np.float32)
    last = random.random(9) < 0.25
    discount = np.where(random.random(9) < 0.25, 0.0, 0.9).astype(np.float32)
    found = jitted(reward, discount, value, last, n=4, count=6, td_lambda=td_lambda)
    expected = [walk(reward, discount, value, last, start, 4, td_lambda) for start in range(6)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_horizon_by_hand():
  """n = 5, one step fewer for every 100 gradient steps of age."""
  np.testing.assert_array_equal(
    horizon(jnp.array([0, 99, 100, 250, 400, 9999]), 5, 100), [5, 5, 4, 3, 1, 1]
  )
  np.testing.assert_array_equal(horizon(jnp.array([0, 9999]), 5, 0), [5, 5])


@pytest.mark.parametrize("td_lambda", [1.0, 0.5])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_fewer_steps_are_the_returns_of_a_smaller_n(steps, td_lambda):
  random = np.random.default_rng(steps)
  reward, value = (jnp.asarray(random.normal(size=5), jnp.float32) for _ in range(2))
  discount, last = vector(0.9, 0.9, 0.0, 0.9, 0.9), jnp.array([False, False, True, False, False])
  found = n_step_returns(
    reward, discount, value, last, n=3, count=3, td_lambda=td_lambda, steps=jnp.int32(steps)
  )
  np.testing.assert_allclose(
    found,
    n_step_returns(reward, discount, value, last, n=steps, count=3, td_lambda=td_lambda),
    rtol=1e-6,
  )
