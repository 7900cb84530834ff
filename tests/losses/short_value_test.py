"""The value with a shorter horizon, against sums worked by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.losses.short_value import short_value
from muzero_jax.networks.scalars import Support
from muzero_jax.targets.returns import Returns
from muzero_jax.types import Context, Model
from tests import builders

UNROLL, N = 2, 2
SUPPORT = Support(4)
MODEL = Model(
  init=lambda key: {},
  encode=lambda params, frames: frames,
  predict=lambda params, hidden: (hidden, hidden),
  step=lambda params, hidden, action: (hidden, hidden),
  decode=SUPPORT.decode,
  encode_scalar=SUPPORT.encode,
)


def measured(example, target_mask: Any = 1):
  """The loss and its gradient with respect to the biases of the bins, with the parameters at their
  start, where every bin has the probability 1/9.
  """
  hidden = jnp.ones((1, UNROLL + 1, 3))
  returns = Returns(N, 0.5, clip_rewards=False)
  term = short_value(MODEL, jax.ShapeDtypeStruct((1, 3), jnp.float32), returns, 8)
  context = builders.filled(
    Context,
    None,
    example=example,
    targets=builders.targets(1, UNROLL, target_mask=target_mask),
    hidden=hidden,
  )

  @jax.jit
  def of(bias):
    params = term.init(jax.random.key(0))
    params["head"]["params"]["Dense_1"]["bias"] = bias
    return term.loss({"short_value": params}, context).sum()

  return jax.value_and_grad(of)(jnp.zeros(9))


def test_targets_are_the_next_rewards():
  """Rewards 8, 4, 2, 16 and a discount of 1/2: 8 + 4/2, 4 + 2/2 and 2 + 16/2. Recorded values do
  not matter, because nothing is bootstrapped.

  The gradient with respect to a bias is the bin's probability, less its share in the targets.
  """
  example = builders.example(1, unroll=UNROLL, n_step=N, reward=[[8, 4, 2, 16]], value=99)
  found, gradient = measured(example)
  np.testing.assert_allclose(found, 2 * np.log(9), rtol=1e-6)
  hot = np.asarray(SUPPORT.encode(jnp.asarray([10.0, 5.0, 10.0])))
  np.testing.assert_allclose(gradient, 2 / 9 - hot[0] - hot[1] / 2 - hot[2] / 2, rtol=1e-5)


def test_returns_end_with_the_episode_and_masked_steps_do_not_count():
  """The return ends at t+1: 8, and then 0 in absorbing states."""
  example = builders.example(
    1, unroll=UNROLL, n_step=N, reward=[[8, 4, 2, 16]], discount=[[0, 1, 1, 1]]
  )
  _, gradient = measured(example, target_mask=[[1, 1, 0]])
  hot = np.asarray(SUPPORT.encode(jnp.asarray([8.0, 0.0])))
  np.testing.assert_allclose(gradient, 1.5 / 9 - hot[0] - hot[1] / 2, rtol=1e-5)
