"""The Hadamax encoder: a block by hand, and shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.networks.hadamax import SIZES, Block, hadamax
from muzero_jax.networks.model import apply
from muzero_jax.networks.resnet import Layers
from tests.networks.common import STACK
from tests.networks.networks_test import check_shapes, shapes

# GELU(1) and GELU(-1), by its approximation with tanh: (1 + tanh(sqrt(2 / pi) * 1.044715)) / 2 is
# 0.8412, and what is missing to 1 is 0.1588.
HIGH, LOW = 0.841192, -0.158808


def test_a_block_by_hand():
  """Two channels, x and -x, are 1 and -1 after normalization, or -1 and 1 where x is negative. The
  second convolution gives the same, so that the products are HIGH^2 and LOW^2, or the reverse. The
  largest of the four pixels: HIGH^2 where there are both signs. With the opposite second
  convolution they are HIGH * LOW everywhere.
  """
  images = jnp.array([[5.0, 1, 1, 1], [1, -1, 3, 1]]).reshape(2, 2, 2, 1)
  block = Block(channels=2, kernel=1, window=2, stride=2, layers=Layers(jnp.float32))

  def run(second):
    kernel = jnp.array([1.0, -1]).reshape(1, 1, 1, 2)
    norm = {"scale": jnp.ones(2), "bias": jnp.zeros(2)}
    convolutions = [{"kernel": kernel * sign, "bias": jnp.zeros(2)} for sign in (1, second)]
    params = {f"Conv_{i}": x for i, x in enumerate(convolutions)}
    return apply(block, {"params": params | {f"LayerNorm_{i}": norm for i in (0, 1)}}, images)

  same, opposite = jax.jit(lambda: (run(1), run(-1)))()
  assert same.shape == (2, 1, 1, 2)
  expected = np.square([[HIGH, LOW], [HIGH, HIGH]])
  np.testing.assert_allclose(same[:, 0, 0], expected, rtol=1e-3)
  np.testing.assert_allclose(opposite, np.full((2, 1, 1, 2), HIGH * LOW), rtol=1e-3)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
  "size, shape", [("grid", (10, 10, 4)), ("nano", (48, 48)), ("small", (84, 84))]
)
def test_shapes(size, shape, dtype):
  check_shapes(shapes(size, shape, dtype, hadamax), (SIZES[size].width,), dtype)


def test_the_published_size():
  """84 -> 21 -> 11 -> 11 pixels of 64 channels enter a layer of 512."""
  params = shapes("small", (84, 84), network=hadamax)[0]["representation"]["params"]
  assert params["Dense_0"]["kernel"].shape == (11 * 11 * 64, 512)
  kernels = [params[f"Block_{i}"]["Conv_1"]["kernel"].shape for i in range(3)]
  assert kernels == [(8, 8, STACK, 32), (4, 4, 32, 64), (3, 3, 64, 64)]
