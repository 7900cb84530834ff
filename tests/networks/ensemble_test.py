"""An ensemble with random priors: it agrees about what it has learned, and not about the rest."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.losses.ensemble import ensemble
from muzero_jax.networks.ensemble import disagreement, member_logits, with_ensemble
from muzero_jax.networks.scalars import Support
from muzero_jax.networks.uncertainty import uncertainty
from muzero_jax.types import Context, Model
from tests import builders

SUPPORT, WIDTH = Support(3), 8


def plain() -> Model:
  """Hidden states are the frames."""
  return Model(
    lambda key: {},
    lambda params, frames: frames[:, -1],
    lambda params, hidden: (hidden, hidden),
    lambda params, hidden, action: (hidden, hidden),
    SUPPORT.decode,
    SUPPORT.encode,
  )


def test_the_variance_by_hand():
  """Heads 1, 2 and priors 3, 6 are values 4 and 8, of which the variance is 4."""
  told = jnp.array([[[1.0], [2.0]]]), jnp.array([[3.0, 6.0]])
  found = disagreement(lambda logits: logits[..., 0], lambda params, hidden: told)(
    {}, jnp.zeros((1, 1))
  )
  np.testing.assert_allclose(found, np.log(4), rtol=1e-6)


def test_loss_by_hand():
  """Two bins, for 0 and 1, and a return of 1. The first member has no prior: its target is 1, that
  of the second, with a prior of 1, is 0. Logits 0, 3 cost ln(1 + e^-3) and 3 + ln(1 + e^-3). Only
  the root of the first example counts.
  """
  model = plain()._replace(
    encode_scalar=lambda x: jnp.stack([1 - x, x], -1),
    ensemble=lambda params, hidden: (
      jnp.broadcast_to(jnp.array([0.0, 3.0]), (hidden.shape[0], 2, 2)),
      jnp.broadcast_to(jnp.array([0.0, 1.0]), (hidden.shape[0], 2)),
    ),
  )
  context = builders.filled(
    Context,
    None,
    targets=builders.targets(2, 1, value=1, target_mask=[[1, 0], [0, 0]]),
    hidden=jnp.zeros((2, 2, 3)),
  )
  found = jax.jit(ensemble(model).loss)({"model": {}}, context)
  np.testing.assert_allclose(found, [1.5 + np.log1p(np.exp(-3)), 0], rtol=1e-5)


def test_it_is_sure_of_what_it_has_learned():
  """Of two states the first has returns of 1 and the second none. Noise is no uncertainty: a third
  state has returns of 2 and of -2.
  """
  states = jnp.eye(3)
  model = with_ensemble(plain(), jax.ShapeDtypeStruct((1, 3), jnp.float32), members=3, width=WIDTH)
  random = np.random.RandomState(0)
  shapes = jax.eval_shape(model.init, jax.random.key(0))
  begun = jax.tree.map(lambda x: random.normal(size=x.shape).astype(np.float32) / 3, shapes)
  assert set(begun) == {"ensemble"}
  context = builders.filled(
    Context,
    None,
    targets=builders.targets(3, 0, value=[[1], [2], [-2]]),
    hidden=states[jnp.array([0, 2, 2])][:, None],
  )
  term = ensemble(model)

  @jax.jit
  def learn(params):
    def step(_, params):
      gradient = jax.grad(lambda p: term.loss({"model": p}, context).sum())(params)
      return jax.tree.map(lambda x, g: x - 1.0 * g, params, gradient)

    learned = jax.lax.fori_loop(0, 1000, step, params)
    return uncertainty(model, params, states), uncertainty(model, learned, states)

  before, after = learn(begun)
  assert (before > 1).all()
  assert after[0] < 0.2 * before[0] and after[2] < 0.2 * before[2] and after[1] > 0.5 * before[1]


def test_a_model_without_an_ensemble():
  with pytest.raises(ValueError, match="no ensemble"):
    member_logits(plain(), {}, jnp.zeros((1, 3)))
