"""The loss of the predicted uncertainty, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.losses.uncertainty import uncertainty
from muzero_jax.networks.uncertainty import uncertainty as predicted
from muzero_jax.networks.uncertainty import with_uncertainty
from muzero_jax.types import Context, Model
from tests import builders

RETURNS = np.array([[1.0, 0, 0], [-1, 0, 0], [3, 0, 0], [-3, 0, 0]])


def model() -> Model:
  """The hidden state is the number of a kind of states, each with a log-variance of its own."""
  return Model(
    lambda key: {"logs": jnp.zeros(2)},
    lambda params, frames: frames[:, -1].astype(jnp.float32),
    lambda params, hidden: (jnp.zeros((hidden.shape[0], 2)), hidden),
    lambda params, hidden, action: (hidden, hidden),
    lambda logits: logits[..., 0],
    lambda x: x[..., None],
    log_variance=lambda params, hidden: params["logs"][hidden[:, 0].astype(jnp.int32)],
  )


def loss(logs, value=0.0):
  """Of four examples: two of the kind 0, with returns 1 and -1, and two of the kind 1, with 3 and
  -3. Only the root counts."""
  context = builders.filled(
    Context,
    None,
    targets=builders.targets(4, 2, value=RETURNS, target_mask=[1, 0, 0]),
    hidden=jnp.broadcast_to(jnp.array([0.0, 0, 1, 1])[:, None, None], (4, 3, 1)),
    value_logits=jnp.full((4, 3, 1), value),
  )
  return uncertainty(model()).loss({"model": {"logs": jnp.asarray(logs)}}, context)


def test_loss_by_hand():
  """(s + e^2 exp(-s)) / 2, with s = ln 4 for all: ln 2 + 1/8, and ln 2 + 9/8."""
  found = loss(np.log([4.0, 4.0]))
  np.testing.assert_allclose(found, np.log(2) + np.array([1, 1, 9, 9]) / 8, rtol=1e-5)
  # A value of 1 has the errors 0, -2, 2 and -4.
  found = loss(np.log([4.0, 4.0]), value=1.0)
  np.testing.assert_allclose(found, np.log(2) + np.array([0, 4, 4, 16]) / 8, rtol=1e-5)


def test_it_is_calibrated_where_it_is_smallest():
  """The variances 1 and 9 are the mean squared errors: nothing moves. From 0 and 0, which is right
  for the first kind, the second one rises."""
  gradient = jax.grad(lambda logs: loss(logs).sum())
  np.testing.assert_allclose(gradient(np.log([1.0, 9.0])), 0, atol=1e-6)
  np.testing.assert_allclose(gradient(np.zeros(2)), [0, 2 * (1 - 9) / 2], rtol=1e-6)


def test_the_value_does_not_follow():
  np.testing.assert_array_equal(jax.grad(lambda value: loss(np.zeros(2), value).sum())(0.5), 0)


def test_the_head_is_added_to_a_model():
  """It begins with one unit of return; what the model had keeps its parameters."""
  base = model()._replace(log_variance=None, init=lambda key: {"w": jax.random.normal(key, ())})
  sure = with_uncertainty(base, jax.ShapeDtypeStruct((1, 1), jnp.uint8), width=4)
  key = jax.random.key(3)
  params = sure.init(key)
  assert set(params) == {"w", "uncertainty"} and params["w"] == base.init(key)["w"]
  np.testing.assert_allclose(predicted(sure, params, jnp.ones((2, 1))), 1, rtol=1e-6)
  with pytest.raises(ValueError, match="no uncertainty"):
    predicted(base, params, jnp.ones((2, 1)))
