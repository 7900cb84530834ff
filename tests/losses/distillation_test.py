"""The distillation loss, worked by hand on a model whose hidden state is its newest pixel."""

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.losses.distillation import distillation
from muzero_jax.types import Context, Model
from tests import builders

UNROLL = 2


def model() -> Model:
  """Policy logits (w x, 0) and value logits (0, w x), where x is the newest frame's only pixel."""

  def predict(params, hidden):
    logits = params["w"] * hidden[:, 0]
    zeros = jnp.zeros_like(logits)
    return jnp.stack([logits, zeros], -1), jnp.stack([zeros, logits], -1)

  return Model(
    lambda key: {"w": jnp.ones(())},
    lambda params, frames: frames[:, -1].astype(jnp.float32),
    predict,
    lambda params, hidden, action: (hidden, hidden),
    lambda logits: logits[..., 0],
    lambda x: x,
  )


def context(pixels: list[int], logits: jax.Array, policy_mask: list[float]) -> Context:
  """One example; the unroll predicts the logits [k+1, 2] for policies and values alike."""
  frames = jnp.asarray(pixels, jnp.uint8)[None, :, None]
  return builders.filled(
    Context,
    None,
    example=builders.example(1, unroll=UNROLL, frames=frames),
    targets=builders.targets(1, UNROLL, policy_mask=policy_mask),
    hidden=jnp.zeros((1, UNROLL + 1, 1)),
    policy_logits=logits[None],
    value_logits=logits[None, :, ::-1],
  )


def loss(pixels, logits, policy_mask, w=1.0):
  term = distillation(model(), stack=1)
  params = {"model": {"w": jnp.asarray(w)}}
  return term.loss(params, context(pixels, logits, policy_mask))


def test_divergence_by_hand():
  """The frames reached say (ln 3, 0): 3/4 and 1/4, where w = ln 3 and the pixel is 1; the unroll
  says one half at the first step, and the same as the frames at the second. The divergence
  3/4 ln(3/2) + 1/4 ln(1/2) = 0.1308 counts for policy and value, and is averaged over two steps.
  The root does not count, nor does its frame, 9.
  """
  logits = jnp.asarray([[5.0, 0.0], [0.0, 0.0], [np.log(3), 0.0]])
  found = loss([9, 1, 1], logits, [1, 1, 1], w=np.log(3))
  by_hand = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
  np.testing.assert_allclose(found, [2 * by_hand / 2], rtol=1e-5)


def test_absorbing_states_do_not_count():
  logits = jnp.asarray([[5.0, 0.0], [0.0, 0.0], [-7.0, 0.0]])
  masked = loss([9, 1, 1], logits, [1, 1, 0], w=np.log(3))
  by_hand = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
  np.testing.assert_allclose(masked, [2 * by_hand / 2], rtol=1e-5)


def test_only_the_unroll_is_moved():
  """No gradient reaches the model through the targets, and the unroll's logits get one."""
  logits = jnp.asarray([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
  through_targets = jax.grad(lambda w: loss([9, 1, 1], logits, [1, 1, 1], w).sum())(1.0)
  np.testing.assert_allclose(through_targets, 0)
  moved = jax.grad(lambda x: loss([9, 1, 1], x, [1, 1, 1], np.log(3)).sum())(logits)
  assert (moved[1:, 0] < 0).all()  # towards the frames' 3/4
  np.testing.assert_allclose(moved[0], 0)
