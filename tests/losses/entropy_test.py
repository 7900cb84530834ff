"""The entropy bonus, worked by hand."""

import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.losses.entropy import entropy
from muzero_jax.types import Context
from tests import builders


@pytest.mark.parametrize(
  ("steps", "mask", "by_hand"),
  [
    ("root", [1, 1, 1], -np.log(2) - (0.5623 + 0) / 2),
    ("equal", [1, 1, 1], -(np.log(2) + 0.5623) / 2),
    ("root", [1, 0, 0], -np.log(2)),
  ],
)
def test_entropy_by_hand(steps, mask, by_hand):
  """One half each has ln 2, 3/4 and 1/4 have 0.5623 nats, a certain policy has none."""
  logits = jnp.asarray([[7.0, 7.0], [np.log(3), 0.0], [1000.0, 0.0]])
  context = builders.filled(
    Context, None, targets=builders.targets(1, 2, policy_mask=mask), policy_logits=logits[None]
  )
  np.testing.assert_allclose(entropy(None, steps).loss({}, context), [by_hand], atol=1e-4)
