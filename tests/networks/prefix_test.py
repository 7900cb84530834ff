"""Value prefixes: rewards by their differences, where sums begin anew, and what stays as it was."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.networks import prefix
from muzero_jax.networks.model import apply
from muzero_jax.networks.prefix import Prefix, prefix_logits, with_value_prefix
from muzero_jax.types import Model

FRAMES = jax.ShapeDtypeStruct((1, 2, 3), jnp.uint8)
DISCOUNT, WIDTH = 0.5, 4


def plain() -> Model:
  """Hidden states are images of 2x3 that hold the number of steps; the value is their sum."""
  return Model(
    init=lambda key: {"w": jax.random.normal(key, ())},
    encode=lambda params, frames: jnp.zeros((frames.shape[0], 2, 3)),
    predict=lambda params, hidden: (jnp.zeros((hidden.shape[0], 2)), hidden.sum((1, 2))[:, None]),
    step=lambda params, hidden, action: (hidden + 1, jnp.full((hidden.shape[0], 1), jnp.nan)),
    decode=lambda logits: jnp.exp(logits[..., 0]),
    encode_scalar=lambda x: x[..., None],
  )


def unrolled(sums, horizon):
  """The rewards of a model whose value prefixes are `sums`, whatever it sees; the LSTM's state,
  which counts; and the last hidden state.
  """

  def told(module, params, state, carry):
    total = jnp.asarray(sums)[state[:, 0, 0].astype(jnp.int32) - 1]
    return tuple(x + 1 for x in carry), jnp.log(total)[:, None]

  model = with_value_prefix(plain(), FRAMES, DISCOUNT, horizon, WIDTH)

  @jax.jit
  def unroll():
    hidden, rewards, carries = model.encode({}, jnp.zeros((1, 1, 2, 3))), [], []
    for _ in sums:
      hidden, logits = model.step({"prefix": {}}, hidden, jnp.zeros(1, jnp.int32))
      rewards.append(model.decode(logits)[0])
      carries.append(hidden[0, 6])
    return rewards, carries, model.core(hidden), model.predict({}, hidden)[1]

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(prefix, "apply", told)
    return unroll()


def test_rewards_are_differences_by_hand():
  """Rewards 2, 3, 4 and a discount of 1/2: sums of 2, 3.5 and 4.5. After these three the sum begins
  anew: rewards 1 and 6 are sums of 1 and 4. So does the state of the LSTM. Heads see the state as
  it was: 6 pixels of 5.
  """
  rewards, carries, core, value = unrolled([2, 3.5, 4.5, 1, 4], horizon=3)
  np.testing.assert_allclose(rewards, [2, 3, 4, 1, 6], rtol=1e-5)
  np.testing.assert_array_equal(carries, [1, 2, 3, 1, 2])
  np.testing.assert_array_equal(core, np.full((1, 2, 3), 5.0))
  np.testing.assert_array_equal(value, [[30.0]])


def test_the_loss_sees_what_the_step_saw():
  """The logits of the step that led to a hidden state, from the LSTM's state that it holds."""
  base = plain()._replace(encode_scalar=lambda x: jnp.stack([x, 1 - x], -1))
  model = with_value_prefix(base, FRAMES, DISCOUNT, 2, WIDTH)
  random = np.random.RandomState(0)
  params = jax.tree.map(
    lambda x: random.normal(size=x.shape).astype(np.float32),
    jax.eval_shape(model.init, jax.random.key(0)),
  )
  assert set(params) == {"w", "prefix"}

  @jax.jit
  def both():
    root = model.encode(params, jnp.zeros((2, 1, 2, 3)))
    hidden, _ = model.step(params, root, jnp.zeros(2, jnp.int32))
    carry, logits = apply(Prefix(WIDTH, 2), params["prefix"], jnp.ones((2, 2, 3)))
    return hidden[:, 6:14], jnp.concatenate(carry, 1), prefix_logits(model, params, hidden), logits

  stored, carry, found, logits = both()
  np.testing.assert_allclose(stored, carry, rtol=1e-5)
  np.testing.assert_allclose(found, logits, rtol=1e-5)
  with pytest.raises(ValueError, match="no value prefix"):
    prefix_logits(base, params, stored)
