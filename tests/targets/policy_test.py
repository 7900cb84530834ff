"""Policy targets, recorded and searched again, with a search that shows which root it was given."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.replay.frames import Ring
from muzero_jax.targets import bootstrap
from muzero_jax.targets.maker import TargetMaker
from muzero_jax.targets.policy import Reanalyzed, recorded
from muzero_jax.targets.returns import Returns
from tests import builders
from tests.fakes import DIGITS as MODEL
from tests.fakes import digits

STACK, UNROLL, SIZE = 3, 2, 4


def search(params, key, root):
  """Its policy is (the root's value, the parameter)."""
  size = root.value.shape[0]
  shown = jnp.stack([root.value, jnp.full(size, params)], -1)
  return builders.decision(size, policy=shown, value=root.value)


def no_search(params, key, root):
  raise AssertionError("nothing is to be searched")


def examples(first=()):
  """Example j shows 1+j, 2+j, ..., so its step t shows 3+j; `first` names steps t+i. Its recorded
  policies are (-1-j, -9).
  """
  frames = np.arange(1, STACK + UNROLL + 1)[None, :, None] + np.arange(SIZE)[:, None, None]
  flags = np.isin(np.arange(1 - STACK, UNROLL + 1), first)
  return builders.example(
    SIZE,
    unroll=UNROLL,
    frames=jnp.asarray(frames, jnp.uint8),
    first=flags,
    policy=jnp.stack(
      [
        jnp.tile(-1.0 - jnp.arange(SIZE)[:, None], (1, UNROLL + 1)),
        jnp.full((SIZE, UNROLL + 1), -9.0),
      ],
      -1,
    ),
  )


def reanalyzed(fraction, search=search):
  return Reanalyzed(MODEL, search, STACK, UNROLL, fraction)


# Stacks of example j at t, t+1, t+2, as decimal numbers.
SEEN = np.array([[123, 234, 345], [234, 345, 456], [345, 456, 567], [456, 567, 678]])


def test_recorded_policies_are_those_of_the_replay(key):
  np.testing.assert_array_equal(recorded({}, key, examples()), examples().policy)


def test_reanalysed_none(key):
  """Fraction 0: nothing is searched, the recorded policies stand."""
  found = reanalyzed(0.0, no_search)(jnp.float32(1), key, examples())
  np.testing.assert_array_equal(found, examples().policy)


def test_reanalysed_all(key):
  """Fraction 1: all k+1 steps of every example are searched again, each from its own stack, with
  the given parameters.
  """
  found = reanalyzed(1.0)(jnp.float32(1), key, examples())
  np.testing.assert_array_equal(found[..., 0], SEEN)
  np.testing.assert_array_equal(found[..., 1], np.ones((SIZE, UNROLL + 1)))
  doubled = reanalyzed(1.0)(jnp.float32(2), key, examples())
  np.testing.assert_array_equal(doubled[..., 0], 2 * SEEN)
  np.testing.assert_array_equal(doubled[..., 1], np.full((SIZE, UNROLL + 1), 2))


def test_reanalysed_half(key):
  """Fraction 0.5: half of the batch is searched again, the other half keeps its recorded
  policies.
  """
  found = np.asarray(reanalyzed(0.5)(jnp.float32(1), key, examples()))
  again = found[..., 1] == 1
  assert again.all(1).sum() == SIZE // 2 and again.sum() == SIZE // 2 * (
    UNROLL + 1
  )  # whole examples, half of them
  for row in range(SIZE):
    expected = SEEN[row] if again[row].all() else [-1 - row] * (UNROLL + 1)
    np.testing.assert_array_equal(found[row, :, 0], expected)


def test_reanalysis_repeats_first_frames(key):
  """A frame stack never reaches across a reset; reanalysis repeats an episode's first frame."""
  found = reanalyzed(1.0)(jnp.float32(1), key, examples(first=[1]))
  # Example 0 shows 1 2 3 | 4 5: t sees 1 2 3, t+1 begins the next episode with 4 4 4, t+2 sees 4 4
  # 5.
  np.testing.assert_array_equal(found[0, :, 0], [123, 444, 445])
  found = reanalyzed(1.0)(jnp.float32(1), key, examples(first=[0]))
  np.testing.assert_array_equal(found[0, :, 0], [333, 334, 345])


def test_reanalysis_stacks_as_acting_did(key):
  """Acting and reanalysing stack in the same way: every stack that is searched again is the one
  that was acted on.
  """
  ring = Ring(16, 1, 2, (1,), stack=STACK, unroll=UNROLL, window=UNROLL + 2, later=UNROLL)
  replay, acted, add = ring.init(), [], jax.jit(ring.add)
  for t in range(12):
    time = builders.time_step(
      1,
      frame=jnp.array([[t % 9 + 1]], jnp.uint8),
      first=t in (0, 1, 5, 7),  # an episode may be a single step long
      last=t in (0, 4, 6),
    )
    replay = add(replay, builders.decision(1), time, jnp.int32(0))
    acted.append(int(digits(1.0, ring.recent(replay))[0, 0]))
  # Steps 0 | 1 2 3 4 | 5 6 | 7 ...: frames 1 | 2 3 4 5 | 6 7 | 8 9 1 2 3.
  assert acted == [111, 222, 223, 234, 345, 666, 667, 888, 889, 891, 912, 123]
  for row in range(12 - UNROLL):
    example = jax.tree.map(lambda x: x[None], ring.example(replay, jnp.int32(row), jnp.int32(0)))
    found = reanalyzed(1.0)(jnp.float32(1), key, example)
    assert found[0, :, 0].tolist() == acted[row : row + UNROLL + 1]


@pytest.mark.parametrize("fraction", [0.5, 1.0])
def test_reanalysed_targets_carry_no_gradient(key, fraction):
  """Reanalyzed targets carry no gradient."""
  maker = TargetMaker(bootstrap.recorded, reanalyzed(fraction), Returns(n_step=1), UNROLL)

  def total(params):
    return jnp.sum(maker(params, key, examples()).policy)

  assert total(jnp.float32(2)) != total(jnp.float32(1))
  assert jax.grad(total)(jnp.float32(1)) == 0


def test_policy_after_the_end_is_not_alive(key):
  """After the end of an episode there is no policy loss: the step that terminates has a policy mask
  of 0, though it is searched again.
  """
  ended = dataclasses.replace(
    examples(first=[2]),
    last=jnp.tile(jnp.arange(UNROLL + 2) == 1, (SIZE, 1)),
    discount=jnp.ones((SIZE, 3)).at[:, 0].set(0),
  )
  made = TargetMaker(bootstrap.recorded, reanalyzed(1.0), Returns(n_step=1), UNROLL)(
    jnp.float32(1), key, ended
  )
  np.testing.assert_array_equal(made.policy_mask, [[1, 0, 0]] * SIZE)
  np.testing.assert_array_equal(made.policy[:, 0, 0], SEEN[:, 0])
