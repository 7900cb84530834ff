"""Resets: what is kept, what begins anew, when, and with which random numbers."""

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.networks.resets import Resets, key_of


def test_half_of_the_trunk_is_kept():
  """Old parameters are 8 and new ones 2: encoder and dynamics become 5, all heads 2."""

  def params(x):
    reward_heads = {"Logits_0": {"kernel": x}, "Head_0": {"Conv_0": {"kernel": x}}}
    return {
      "model": {
        "representation": {"params": {"Dense_0": {"kernel": x}}},
        "dynamics": {"params": {"Dense_0": {"kernel": x}, **reward_heads}},
        "prediction": {"params": {"Dense_0": {"kernel": x}}},
        "second": {"params": {"Dense_0": {"kernel": x}}},
      },
      "consistency": {"predictor": {"kernel": x}},
    }

  found = Resets(period=1, end=1, kept=0.5)(params(8.0), params(2.0))
  expected = params(2.0)
  for part in ("representation", "dynamics"):
    expected["model"][part]["params"]["Dense_0"]["kernel"] = 5.0
  assert found == expected


def test_when_it_is_due():
  due = Resets(period=10, end=25).due(jnp.array([1, 9, 10, 11, 20, 25, 30]))
  np.testing.assert_array_equal(due, [False, False, True, False, True, False, False])
  assert [Resets(10, end).count for end in (25, 30, 9, -5)] == [2, 3, 0, 0]


def test_random_numbers_follow_from_parameters_and_step():
  keys = [
    key_of(jnp.array([x, 1.0]), jnp.int32(step)) for x, step in ((2, 7), (2, 7), (3, 7), (2, 8))
  ]
  same, again, other, later = (jax.random.key_data(key).tolist() for key in keys)
  assert same == again and same != other and same != later and other != later
