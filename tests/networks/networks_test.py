"""The networks: shapes of every size, and how frames and hidden states are scaled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.networks import model as models
from muzero_jax.networks.mlp import WIDTHS, mlp
from muzero_jax.networks.model import largest, scale_hidden, stacked_input
from muzero_jax.networks.resnet import SIZES, resnet
from muzero_jax.networks.vector import SIZES as VECTOR_SIZES
from muzero_jax.networks.vector import space_to_depth, vector
from tests.networks.common import (
  ACTIONS,
  STACK,
  SUPPORT,
)


def shapes(size, shape, dtype=jnp.float32, network=resnet, num=2):
  """Parameters, hidden state, stepped hidden state, reward, policy and value logits, abstractly;
  uint8 frames.
  """
  stack = jax.ShapeDtypeStruct((STACK, *shape), jnp.uint8)
  model = models.make_model(network, size, ACTIONS, SUPPORT, stack, dtype)

  def run(key, frames, action):
    params = model.init(key)
    hidden = model.encode(params, frames)
    later, reward = model.step(params, hidden, action)
    return params, hidden, later, reward, *model.predict(params, later)

  key = jax.eval_shape(lambda: jax.random.key(0))
  return jax.eval_shape(
    run,
    key,
    jax.ShapeDtypeStruct((num, *stack.shape), stack.dtype),
    jax.ShapeDtypeStruct((num,), jnp.int32),
  )


def check_shapes(found, expected, dtype):
  params, hidden, later, reward, policy, value = found
  assert hidden.shape == later.shape == (2, *expected)
  assert hidden.dtype == later.dtype == dtype  # the unroll's scan carries it
  assert (reward.shape, policy.shape, value.shape) == ((2, 11), (2, ACTIONS), (2, 11))
  assert {x.dtype for x in (reward, policy, value)} == {
    jnp.dtype(jnp.float32)
  }  # float32, whatever the trunk
  assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}
  assert set(params) == {"representation", "dynamics", "prediction"}
  assert all(set(part) == {"params"} for part in params.values())  # no batch statistics


CHANNELS = {"tiny": 32, "small": 64, "efficientzero": 64, "muzero": 256}


@pytest.mark.parametrize("pixels", [84, 96])
@pytest.mark.parametrize("size", ["tiny", "small", "efficientzero"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_hidden_states_are_six_by_six(size, pixels, dtype):
  """84 and 96 pixels both give 6x6; heads are float32 under either trunk; no norm layer holds batch
  statistics.
  """
  check_shapes(shapes(size, (pixels, pixels), dtype), (6, 6, CHANNELS[size]), dtype)


@pytest.mark.parametrize("pixels", [84, 96])
def test_hidden_states_of_the_largest_size(pixels):
  check_shapes(shapes("muzero", (pixels, pixels), jnp.bfloat16), (6, 6, 256), jnp.bfloat16)


def test_color_frames():
  check_shapes(shapes("efficientzero", (96, 96, 3)), (6, 6, 64), jnp.float32)


def test_grid_keeps_the_boards_size():
  check_shapes(shapes("grid", (10, 10, 4)), (10, 10, 16), jnp.float32)
  check_shapes(shapes("grid", (10, 5)), (10, 5, 16), jnp.float32)


@pytest.mark.parametrize("size", list(WIDTHS))
def test_hidden_states_of_the_mlp(size):
  check_shapes(shapes(size, (10, 5), network=mlp), (WIDTHS[size],), jnp.float32)
  check_shapes(shapes(size, (10, 5), jnp.bfloat16, network=mlp), (WIDTHS[size],), jnp.bfloat16)


@pytest.mark.parametrize("size", list(VECTOR_SIZES))
@pytest.mark.parametrize("shape", [(48, 48), (84, 84), (96, 96, 3)])
def test_hidden_states_of_the_vector_network(size, shape):
  check_shapes(shapes(size, shape, network=vector), (VECTOR_SIZES[size].width,), jnp.float32)
  check_shapes(
    shapes(size, shape, jnp.bfloat16, network=vector), (VECTOR_SIZES[size].width,), jnp.bfloat16
  )


def test_space_to_depth_by_hand():
  """3x4 with one channel in patches of 2: rows (0 1 2 3), (4 5 6 7), (8 9 10 11), then zeros."""
  found = space_to_depth(jnp.arange(12.0).reshape(1, 3, 4, 1), 2)
  np.testing.assert_array_equal(
    found, [[[[0, 1, 4, 5], [2, 3, 6, 7]], [[8, 9, 0, 0], [10, 11, 0, 0]]]]
  )


def test_every_size_is_tested():
  assert set(SIZES) == {*CHANNELS, "grid"}


def test_the_gradient_of_the_maximum_is_shared_by_equal_entries_and_never_0_over_0():
  """XLA may recompute the entries, so that none is equal to the maximum."""
  x = jnp.array([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]])
  gradient = jax.grad(lambda x: largest(x, (1,))[:, 0] @ jnp.array([4.0, 5.0]))(x)
  np.testing.assert_array_equal(gradient, [[0, 2, 2], [5, 0, 0]])
  _, kept = models._largest(x, (1,))
  (lost,) = models._largest_gradient((1,), (kept[0] - 1e-6, kept[1]), jnp.ones((2, 1)))
  np.testing.assert_array_equal(lost, np.zeros((2, 3)))


def test_scale_hidden_by_hand():
  found = scale_hidden(jnp.array([[2.0, 4.0, 3.0], [-1.0, 1.0, -1.0]]))
  np.testing.assert_array_equal(found, [[0, 1, 0.5], [0, 1, 0]])


def test_scale_hidden_is_per_example_over_the_whole_map():
  hidden = jnp.arange(16.0).reshape(2, 2, 2, 2)
  found = scale_hidden(hidden)
  np.testing.assert_allclose(found[0].ravel(), np.arange(8) / 7, rtol=1e-6)
  np.testing.assert_allclose(found[1].ravel(), np.arange(8) / 7, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_constant_hidden_state_gives_no_nan(dtype):
  """Hidden state min-max scaling has an epsilon: a constant hidden state gives no NaN, nor does its
  gradient.
  """
  constant = jnp.full((2, 3, 3, 2), 7.0, dtype)
  np.testing.assert_array_equal(scale_hidden(constant).astype(jnp.float32), np.zeros((2, 3, 3, 2)))
  gradient = jax.grad(lambda x: jnp.sum(jnp.sin(scale_hidden(x).astype(jnp.float32) + 1)))(constant)
  assert np.isfinite(np.asarray(gradient, np.float32)).all()


def test_stacked_input_by_hand():
  """uint8 frames stay uint8 until inside the network, and differences of them do not wrap around:
  10 - 30 is -20.
  """
  stack = jnp.array([10, 30, 10], jnp.uint8).reshape(1, 3, 1, 1)
  found = stacked_input(stack, jnp.float32)
  # The newest frame, then 30 - 10 and 10 - 30, in 255ths, as channels.
  np.testing.assert_allclose(found[0, 0, 0] * 255, [10, 20, -20], rtol=1e-5)


def test_stacked_input_shapes_and_layout():
  gray = jnp.asarray(np.random.default_rng(0).integers(0, 256, (2, 4, 5, 6)), jnp.uint8)
  found = stacked_input(gray, jnp.float32)
  assert found.shape == (2, 5, 6, 4)
  wide = np.asarray(gray, np.float32) / 255
  np.testing.assert_allclose(found[..., 0], wide[:, 3], atol=1e-6)
  np.testing.assert_allclose(found[..., 1], wide[:, 1] - wide[:, 0], atol=1e-6)
  color = stacked_input(jnp.stack([gray, 255 - gray], -1), jnp.float32)
  assert color.shape == (2, 5, 6, 8)
  # Channels are frame by frame: the newest frame's two colors first.
  np.testing.assert_allclose(color[..., 0], wide[:, 3], atol=1e-6)
  np.testing.assert_allclose(color[..., 1], 1 - wide[:, 3], atol=1e-6)
  vectors = stacked_input(jnp.ones((2, 4, 3)), jnp.float32)
  np.testing.assert_array_equal(
    vectors, [[1, 1, 1] + [0] * 9] * 2
  )  # numbers are not divided by 255
