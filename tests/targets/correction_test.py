"""V-trace and Retrace against sums worked by hand and against the published formula."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.targets import policy
from muzero_jax.targets.bootstrap import TargetNetwork
from muzero_jax.targets.correction import ImportanceRatios, OffPolicy
from muzero_jax.targets.maker import TargetMaker
from muzero_jax.targets.returns import Returns
from muzero_jax.targets.unroll import reward_and_value
from muzero_jax.types import Model
from tests import builders

UNROLL, N = 1, 2
LN3 = float(np.log(3))
# The frame's pixel is x: the policy is (3/4, 1/4) where x is odd, and (1/2, 1/2) where it is even;
# the value is x.
MODEL = Model(
  init=lambda key: {},
  encode=lambda params, frames: frames[:, -1].astype(jnp.float32),
  predict=lambda params, hidden: (
    jnp.concatenate([LN3 * (hidden % 2), jnp.zeros_like(hidden)], -1),
    hidden,
  ),
  step=lambda params, hidden, action: (hidden, hidden),
  decode=lambda logits: logits[..., 0],
  encode_scalar=lambda scalar: scalar[..., None],
)


def example(*, action=(0, 1, 1), behavior=(0.5, 0.5, 1.0), last: Any = False):
  """Steps t .. t+3 show 1, 3, 5, 8; behavior is the probability of the action taken."""
  return builders.example(
    1,
    unroll=UNROLL,
    n_step=N,
    frames=jnp.asarray([1, 3, 5, 8], jnp.uint8)[None, :, None],
    action=[action],
    reward=[[1, 2, 4]],
    log_prob=np.log([behavior]),
    last=[last] if np.ndim(last) else last,
  )


def test_ratios_by_hand():
  """3/4 against 1/2 is cut to 1; 1/4 against 1/2 is 1/2; 1/4 against 1 is 1/4."""
  for kind, start in (("vtrace", [1, 0.5, 0.25, 1]), ("retrace", [1, 1, 1, 1])):
    ratios = OffPolicy(MODEL, 1, kind)({}, example())
    np.testing.assert_allclose(ratios.mixing, [[1, 0.5, 0.25, 1]], rtol=1e-6)
    np.testing.assert_allclose(ratios.start, [start], rtol=1e-6)


@pytest.mark.parametrize(
  ("kind", "td_lambda", "by_hand"),
  [
    # v = 1, 3, 5, 8; G_0 = 1 + (1/2 3 + 1/2 (2 + 5/2)) / 2 = 1 + (1.5 + 2.25) / 2 = 2.875.
    # G_1 = 2 + (3/4 5 + 1/4 (4 + 8/2)) / 2 = 2 + (3.75 + 2) / 2 = 4.875.
    ("retrace", 1.0, [2.875, 4.875]),
    # The first return counts fully (c = 1), the second one half: 3 + (4.875 - 3) / 2.
    ("vtrace", 1.0, [2.875, 3.9375]),
    # lambda = 1/2 halves the mixing: 1 + (3/4 3 + 1/4 4.5) / 2 and 2 + (7/8 5 + 1/8 8) / 2.
    ("retrace", 0.5, [2.6875, 4.6875]),
  ],
)
def test_targets_by_hand(kind, td_lambda, by_hand):
  made = TargetMaker(
    TargetNetwork(MODEL, 1, UNROLL, N, every_step=True),
    policy.recorded,
    Returns(N, 0.5, td_lambda, clip_rewards=False),
    UNROLL,
    OffPolicy(MODEL, 1, kind),
  )({}, jax.random.key(0), example())
  np.testing.assert_allclose(made.value, [by_hand], rtol=1e-6)


def test_the_policy_that_acted_needs_no_correction():
  """Where behavior and policy agree, every weight is 1, and targets are n-step returns."""
  same = example(behavior=(0.75, 0.25, 0.25))
  np.testing.assert_allclose(OffPolicy(MODEL, 1, "vtrace")({}, same).mixing, 1, rtol=1e-6)


def test_returns_end_with_the_episode():
  """A time limit at t+1: the target of t bootstraps there, that of t+1 is its own value."""
  cut = jax.tree.map(lambda x: x[0], example(last=(False, True, False, False)))
  ratios = ImportanceRatios(jnp.full(4, 0.5), jnp.full(4, 0.5))
  returns = Returns(N, 0.5, clip_rewards=False)
  found = reward_and_value(
    cut, jnp.asarray([1.0, 3, 5, 8]), ratios, unroll=UNROLL, returns=returns
  )[1]
  np.testing.assert_allclose(found, [0.5 * 1 + 0.5 * (1 + 3 / 2), 3])


def test_vtrace_is_the_published_sum():
  """Espeholt et al. 2018, eq. 1: v_s = V_s + sum_t gamma^(t-s) (prod c) rho_t delta_t, where both
  truncation levels are 1.
  """
  rng = np.random.default_rng(0)
  length, n, gamma, td_lambda = 7, 4, 0.9, 0.8
  unroll = length - n - 1
  value, ratio = rng.normal(size=length), rng.uniform(0.1, 1, length)
  one = builders.example(unroll=unroll, n_step=n, reward=rng.normal(size=length - 1))
  ratios = ImportanceRatios(jnp.asarray(ratio, jnp.float32), jnp.asarray(ratio, jnp.float32))
  returns = Returns(n, gamma, td_lambda, clip_rewards=False)
  found = reward_and_value(
    one, jnp.asarray(value, jnp.float32), ratios, unroll=unroll, returns=returns
  )[1]
  reward = np.asarray(one.reward, np.float64)
  for start in range(unroll + 1):
    total, weight = value[start], 1.0
    for t in range(start, start + n):
      total += weight * ratio[t] * (reward[t] + gamma * value[t + 1] - value[t])
      weight *= gamma * td_lambda * ratio[t]
    np.testing.assert_allclose(found[start], total, rtol=1e-5)
