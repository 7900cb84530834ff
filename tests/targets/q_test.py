"""Bootstrapping from Q: transitions made by hand, with the Q of every state in a table."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.targets import policy, q
from muzero_jax.targets.bootstrap import TargetNetwork
from muzero_jax.targets.maker import TargetMaker
from muzero_jax.targets.returns import Returns
from muzero_jax.types import QHead
from tests import builders
from tests.fakes import DIGITS

N = 2
# A frame is the number of its state, and so is the hidden state. Parameters: Q[state, action].
MODEL = DIGITS._replace(
  encode=lambda params, frames: frames[:, -1].astype(jnp.float32),
  q=QHead(
    lambda params, hidden: params["table"][hidden[:, 0].astype(jnp.int32)][..., None],
    lambda x: x[..., 0],
    lambda x, target: x[..., 0] - target,
  ),
)
# The target network's Q', and the newest, by which the second action is the better one.
OLD = jnp.array([[0, 0], [16, 8], [32, 4], [64, 12]], jnp.float32)
NEW = jnp.array([[0, 0], [-1, 1], [-1, 1], [-1, 1]], jnp.float32)
PARAMS = {"table": OLD, "online": {"table": NEW}}


def test_three_values_of_a_state():
  """Of state 2, Q' = 32, 4: the largest is 32; double Q-learning takes the second; mellowmax is
  ln((e^32 + e^4) / 2).
  """
  frames = jnp.full((1, 1, 1), 2, jnp.uint8)
  assert q.q_max(MODEL, PARAMS, frames) == 32
  assert q.q_double(MODEL, PARAMS, frames) == 4
  mellow = q.q_mellowmax(MODEL, PARAMS, frames, omega=1.0)
  np.testing.assert_allclose(mellow, 32 - np.log(2), rtol=1e-6)


def example(last=(), discount=()):
  """States 0, 1, 2; rewards 1 and 2. `last` and `discount` (of 0) name steps."""
  at = np.arange(N + 1)
  return builders.example(
    1,
    unroll=0,
    n_step=N,
    frames=jnp.asarray(at[None, :, None], jnp.uint8),
    reward=[1, 2],
    discount=~np.isin(at[1:], discount),
    last=np.isin(at, last),
    value=1000,
  )


# With a discount of 1/2.
CASES = {
  "goes on": (dict(), {"q_max": 2 + 32 / 4, "q_double": 2 + 4 / 4}),  # 1 + 2/2 + v_2/4
  "terminal at once": (dict(last=[1], discount=[1]), {"q_max": 1, "q_double": 1}),
  "terminal": (dict(last=[2], discount=[2]), {"q_max": 2, "q_double": 2}),  # 1 + 2/2
  "truncated at once": (dict(last=[1]), {"q_max": 1 + 16 / 2, "q_double": 1 + 8 / 2}),
  "truncated": (dict(last=[2]), {"q_max": 2 + 32 / 4, "q_double": 2 + 4 / 4}),
}


@pytest.mark.parametrize("kind", ["q_max", "q_double"])
def test_targets_without_an_unroll(kind):
  """DQN's: there are no rewards to learn, and one value, the return from the root. An end has no
  value, a time limit that of the state it was reached in.
  """
  examples = [example(**ends) for ends, _ in CASES.values()]
  found = targets(getattr(q, kind), PARAMS, jax.tree.map(lambda *x: jnp.concatenate(x), *examples))
  assert found.reward.shape == (len(CASES), 0)
  expected = [[values[kind]] for _, values in CASES.values()]
  np.testing.assert_array_equal(found.value, expected, err_msg=str(list(CASES)))
  np.testing.assert_array_equal(found.policy_mask, np.ones((len(CASES), 1)))


@functools.partial(jax.jit, static_argnums=0)
def targets(estimate, params, example):
  network = TargetNetwork(MODEL, 1, 0, N, every_step=False, estimate=estimate)
  maker = TargetMaker(network, policy.recorded, Returns(N, 0.5, clip_rewards=False), unroll=0)
  return maker(params, jax.random.key(0), example)


def test_targets_carry_no_gradient():
  gradient = jax.grad(lambda params: targets(q.q_double, params, example()).value.sum())(PARAMS)
  assert all((x == 0).all() for x in jax.tree.leaves(gradient))
