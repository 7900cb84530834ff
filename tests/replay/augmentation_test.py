"""Random shifts, against the same written with clipped indices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.replay.augmentation import augment, shift
from tests import builders


def picture(*shape):
  """Numbers that tell every pixel of every frame apart."""
  return np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)


def moved(frames, y, x):
  """Every pixel shows what lies (y, x) from it; the border is repeated."""
  rows = np.clip(np.arange(frames.shape[1]) + y, 0, frames.shape[1] - 1)
  columns = np.clip(np.arange(frames.shape[2]) + x, 0, frames.shape[2] - 1)
  return frames[:, rows][:, :, columns]


def offset(frames, found, pixels):
  """The one (y, x) that explains all frames."""
  moves = [(y, x) for y in range(-pixels, pixels + 1) for x in range(-pixels, pixels + 1)]
  fitting = [move for move in moves if np.array_equal(moved(frames, *move), found)]
  assert len(fitting) == 1
  return fitting[0]


def examples(frames):
  size = len(frames)
  return builders.example(
    size,
    unroll=1,
    frames=frames,
    action=jnp.arange(size * 2).reshape(size, 2),
    reward=1,
    value=1,
    age=jnp.arange(size),
  )


def test_moved_by_hand():
  np.testing.assert_array_equal(moved(np.array([[[1, 2], [3, 4]]]), 1, 0), [[[3, 4], [3, 4]]])
  np.testing.assert_array_equal(moved(np.array([[[1, 2], [3, 4]]]), 0, -1), [[[1, 1], [3, 3]]])


@pytest.mark.parametrize("shape", [(3, 6, 7), (2, 6, 7, 3)])
def test_one_draw_for_all_frames_of_an_example(shape):
  """Augmentation is one draw per example for all its stacked frames: one offset explains them all,
  colors included.
  """
  frames = picture(*shape)
  draw = jax.jit(shift, static_argnums=2)
  offsets = set()
  for key in jax.random.split(jax.random.key(0), 20):
    found = draw(key, frames, 2)
    assert found.shape == frames.shape and found.dtype == jnp.uint8
    offsets.add(offset(frames, np.asarray(found), 2))
  assert len(offsets) > 5


def test_every_offset_is_drawn_equally_often():
  """Up to `pixels` in each direction, both ends and none included, each as likely."""
  frames = picture(1, 4, 4)
  found = jax.jit(jax.vmap(lambda key: shift(key, frames, 1)))(
    jax.random.split(jax.random.key(1), 900)
  )
  offsets = [offset(frames, x, 1) for x in np.asarray(found)]
  counts = {move: offsets.count(move) for move in set(offsets)}
  assert len(counts) == 9  # 3 x 3
  # 100 are expected of each, with standard deviation sqrt(900 * 1/9 * 8/9) = 9.4; five of these are
  # 47.
  assert all(abs(count - 100) < 47 for count in counts.values())


def test_examples_draw_on_their_own():
  """One draw per example: the examples of a batch move differently."""
  frames = np.tile(picture(2, 6, 6), (16, 1, 1, 1))
  found = np.asarray(augment(jax.random.key(0), examples(frames), 2).frames)
  assert found.dtype == np.uint8
  offsets = [offset(frames[i], found[i], 2) for i in range(16)]
  assert len(set(offsets)) > 5


def test_only_frames_change():
  before = examples(np.tile(picture(2, 6, 6), (4, 1, 1, 1)))
  after = augment(jax.random.key(0), before, 2)
  for name in (
    "first",
    "action",
    "reward",
    "discount",
    "last",
    "policy",
    "value",
    "log_prob",
    "age",
  ):
    np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
  assert not np.array_equal(after.frames, before.frames)


def test_key_decides():
  frames = examples(np.tile(picture(2, 6, 6), (8, 1, 1, 1)))
  one, same, other = (augment(jax.random.key(seed), frames, 2).frames for seed in (0, 0, 1))
  np.testing.assert_array_equal(one, same)
  assert not np.array_equal(one, other)


@pytest.mark.parametrize("shape", [(3, 6, 7), (2, 12, 9, 3)])
def test_products_shift_like_slices_bit_for_bit(shape):
  """With every value of a pixel and every offset, the largest included."""
  frames = np.random.default_rng(0).integers(0, 256, (40, *shape)).astype(np.uint8)
  frames[0, 0, 0, :2] = np.resize([0, 255], frames[0, 0, 0, :2].shape)
  batch = examples(frames)
  slices, products = (
    jax.jit(lambda key, x, way=way: augment(key, x, 2, way).frames)(jax.random.key(3), batch)
    for way in (False, True)
  )
  assert products.dtype == jnp.uint8
  np.testing.assert_array_equal(products, slices)
  assert not np.array_equal(products, frames)
