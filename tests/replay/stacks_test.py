"""Stacks of frames at the beginning of an episode."""

import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.replay.stacks import stack_at


@pytest.mark.parametrize(
  ("first", "position", "expected"),
  [
    ([0, 0, 0, 0, 0, 0], 3, [0, 1, 2, 3]),
    ([0, 0, 0, 0, 0, 0], 5, [2, 3, 4, 5]),
    ([0, 0, 0, 1, 0, 0], 3, [3, 3, 3, 3]),  # an episode's first step: its frame four times
    ([0, 0, 0, 1, 0, 0], 4, [3, 3, 3, 4]),
    ([0, 0, 0, 1, 0, 0], 5, [3, 3, 4, 5]),
    ([1, 0, 0, 0, 0, 0], 3, [0, 1, 2, 3]),
    ([0, 1, 0, 1, 0, 0], 5, [3, 3, 4, 5]),  # the newest of two starts counts
    ([0, 1, 0, 0, 0, 1], 4, [1, 2, 3, 4]),  # a start after it does not
  ],
)
def test_a_stack_never_reaches_across_a_reset(first, position, expected):
  frames = jnp.arange(6, dtype=jnp.uint8)[:, None]
  for at in (position, jnp.int32(position)):
    np.testing.assert_array_equal(stack_at(frames, jnp.array(first, bool), at, 4)[:, 0], expected)
