"""The loss of the second value, by hand, on a model whose second value is its newest pixel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.losses.second_value import second_value
from muzero_jax.networks.horizon import second_value as value_of
from muzero_jax.networks.horizon import with_second_value
from muzero_jax.networks.scalars import Support
from muzero_jax.targets.returns import Returns
from muzero_jax.types import Context, Model
from tests import builders

UNROLL, N_STEP = 2, 2


def model() -> Model:
  """Two bins: the first logit is the pixel times w, and decodes to itself. An encoded x has the
  weight x on the second bin, so that even logits make the loss x ln 2."""
  return Model(
    lambda key: {"w": jnp.ones(())},
    lambda params, frames: frames[:, -1].astype(jnp.float32),
    lambda params, hidden: (jnp.zeros((hidden.shape[0], 2)), jnp.full((hidden.shape[0], 2), 99.0)),
    lambda params, hidden, action: (hidden, hidden),
    lambda logits: logits[..., 0],
    lambda x: jnp.stack([jnp.zeros_like(x), x], -1),
    second=lambda params, hidden: params["w"] * jnp.pad(hidden, ((0, 0), (0, 1))),
  )


def loss(target_mask, w=1.0, hidden=0.0, **example):
  """Of one example whose frames show 10, 20, .., 50 and whose rewards are 1, 0, 2, 0."""
  frames = np.array([10, 20, 30, 40, 50], np.uint8)[None, :, None]
  returns = Returns(N_STEP, 0.5, clip_rewards=False)
  term = second_value(model(), returns, stack=1)
  context = builders.filled(
    Context,
    None,
    example=builders.example(
      1, unroll=UNROLL, n_step=N_STEP, frames=frames, reward=[1, 0, 2, 0], **example
    ),
    targets=builders.targets(1, UNROLL, target_mask=target_mask),
    hidden=jnp.full((1, UNROLL + 1, 1), hidden),
  )
  return term.loss({"model": {"w": jnp.asarray(w)}}, context)[0]


@pytest.mark.parametrize(
  ("target_mask", "expected"),
  [
    ([1, 0, 0], 1 + 0.5 * 0 + 0.25 * 30),
    ([0, 1, 0], (0 + 0.5 * 2 + 0.25 * 40) / 2),  # later steps have half of the root's weight each
    ([0, 0, 1], (2 + 0.5 * 0 + 0.25 * 50) / 2),
    ([1, 1, 1], 8.5 + 11 / 2 + 14.5 / 2),
  ],
)
def test_returns_have_their_own_discount_and_bootstrap(target_mask, expected):
  """The discount is 1/2 and bootstraps are two steps later, from the second value there."""
  np.testing.assert_allclose(loss(target_mask), expected * np.log(2), rtol=1e-5)


def test_the_end_of_a_return():
  """It ends at the first step, with reward 1: there is nothing behind it."""
  ends = loss([1, 1, 1], discount=[0, 1, 1, 1], last=[False, True, False, False, False])
  np.testing.assert_allclose(ends, np.log(2), rtol=1e-5)


def test_the_bootstrap_is_not_moved():
  """The gradient is that of the prediction: with logits (0, 0), that is w h = 0, and target x = 8.5
  on the second bin, d loss / d w = h x / 2 = 0 at h = 0, though x depends on w."""
  assert jax.grad(lambda w: loss([1, 0, 0], w))(1.0) == 0
  # At h = 1 and w = 0, where bootstraps are 0 and x = 1: 1/2.
  np.testing.assert_allclose(jax.grad(lambda w: loss([1, 0, 0], w, 1.0))(0.0), 0.5, rtol=1e-5)


def test_the_head_is_added_to_a_model():
  """What the model had keeps its parameters; the second value begins at 0."""
  support = Support(3)
  base = model()._replace(
    second=None,
    init=lambda key: {"w": jax.random.normal(key, ())},
    encode_scalar=support.encode,
    decode=support.decode,
  )
  two = with_second_value(base, jax.ShapeDtypeStruct((1, 1), jnp.uint8), width=4)
  key = jax.random.key(3)
  params = two.init(key)
  assert set(params) == {"w", "second"} and params["w"] == base.init(key)["w"]
  np.testing.assert_allclose(value_of(two, params, jnp.ones((2, 1))), 0, atol=1e-6)
  with pytest.raises(ValueError, match="no second value"):
    value_of(base, params, jnp.ones((2, 1)))
