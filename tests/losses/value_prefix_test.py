"""The loss of value prefixes, by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.losses.value_prefix import prefixes, value_prefix
from muzero_jax.types import Context, Model
from tests import builders


def test_prefixes_by_hand():
  """Rewards 2, 3, 4, 1, 6, a discount of 1/2, and a sum that begins anew after three: 2, 2 + 3/2,
  2 + 3/2 + 4/4; 1, 1 + 6/2.
  """
  reward = jnp.array([[2.0, 3, 4, 1, 6], [0, 0, 8, 0, 0]])
  expected = [[2, 3.5, 4.5, 1, 4], [0, 0, 2, 0, 0]]
  np.testing.assert_allclose(prefixes(reward, 0.5, 3), expected)
  np.testing.assert_allclose(prefixes(reward, 1.0, 9)[0], [2, 5, 9, 10, 16])


def test_loss_by_hand():
  """Two bins, for 0 and 1. Rewards 0 and 1 are prefixes 0 and 1, a discount of 1. Logits of 0 cost
  ln 2 each, and those of the hidden state 3, which are 0 and 3, for a 1: ln(1 + e^-3). The root has
  no prefix. In the second example only the first step has a target.
  """
  model = Model(
    *(None,) * 4,  # type: ignore
    None,
    lambda x: jnp.stack([1 - x, x], -1),
    prefix=lambda params, hidden: jnp.stack([0 * hidden, hidden], -1),
  )
  context = builders.filled(
    Context,
    None,
    targets=builders.targets(2, 2, reward=[0, 1], target_mask=[[1, 1, 1], [1, 1, 0]]),
    hidden=jnp.broadcast_to(jnp.array([7.0, 0, 3])[None], (2, 3)),
  )
  found = jax.jit(value_prefix(model, 1.0, 5).loss)({"model": {}}, context)
  expected = (np.log(2) + np.array([1, 0]) * np.log1p(np.exp(-3))) / 2
  np.testing.assert_allclose(found, expected, rtol=1e-5)
