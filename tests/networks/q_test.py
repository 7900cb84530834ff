"""The Q head: what it adds to a model, and its two kinds of numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.networks.q import q_head, q_values, with_q
from tests.fakes import DIGITS
from tests.networks.common import ACTIONS, SUPPORT

FRAMES = jax.ShapeDtypeStruct((1, 1), jnp.uint8)
# Its hidden state is the digit that the frame shows.
PLAIN = DIGITS._replace(
  init=lambda key: {"scale": jax.random.uniform(key)},
  encode=lambda params, frames: DIGITS.encode(params["scale"], frames),
)


@pytest.mark.parametrize("support", [SUPPORT, None])
def test_a_head_is_added_and_nothing_else_changes(key, support):
  """It starts at 0; the other parameters are those of the model without it."""
  model = with_q(PLAIN, ACTIONS, FRAMES, support, width=8)

  @jax.jit
  def made(key):
    params = model.init(key)
    hidden = model.encode(params, jnp.ones((2, 1, 1), jnp.uint8))
    return params, q_head(model).logits(params, hidden), q_values(model, params, hidden)

  params, logits, values = made(key)
  assert set(params) == {"scale", "q"} and params["scale"] == PLAIN.init(key)["scale"]
  assert logits.shape == (2, ACTIONS, SUPPORT.bins if support else 1)
  np.testing.assert_allclose(values, np.zeros((2, ACTIONS)), atol=1e-6)


def test_a_model_without_a_head_is_refused():
  with pytest.raises(ValueError, match="no Q head"):
    q_values(PLAIN, {}, jnp.zeros((1, 1)))


def test_losses_by_hand():
  """Of plain numbers Huber's: 1/8 at an error of 1/2, 2 1/2 at 3. Of a distribution the
  cross-entropy with the value's two bins: certain of 0, the loss of the target 0 is none.
  """
  scalar = q_head(with_q(PLAIN, ACTIONS, FRAMES))
  np.testing.assert_allclose(
    scalar.loss(jnp.array([[1.0], [1.0]]), jnp.array([1.5, -2])), [0.125, 2.5]
  )
  np.testing.assert_array_equal(scalar.decode(jnp.array([[1.0], [-2.0]])), [1, -2])
  categorical = q_head(with_q(PLAIN, ACTIONS, FRAMES, SUPPORT))
  zero = 100.0 * SUPPORT.encode(jnp.zeros(1))
  np.testing.assert_allclose(categorical.loss(zero, jnp.zeros(1)), [0], atol=1e-6)
  np.testing.assert_allclose(categorical.decode(zero), [0], atol=1e-6)
  even = jnp.zeros((1, SUPPORT.bins))
  np.testing.assert_allclose(categorical.loss(even, jnp.ones(1)), [np.log(SUPPORT.bins)], rtol=1e-6)
