"""Random network distillation: what is learned is no longer novel, and what is not, remains so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.losses import novelty as losses
from muzero_jax.networks.novelty import novelty, standardized, with_novelty
from muzero_jax.types import Context, Model
from tests import builders

FRAMES = jax.ShapeDtypeStruct((1, 4, 4), jnp.uint8)


def model():
  plain = Model(
    lambda key: {"w": jax.random.normal(key, ())}, *(None,) * 3, None, lambda x: x  # type: ignore
  )  # fmt: skip
  return with_novelty(plain, FRAMES)


def test_a_frame_that_is_learned_is_no_longer_novel():
  """Two frames: the loss sees the first one, S-1 = 0, and not the later one."""
  random = np.random.RandomState(0)
  known, unknown = random.randint(0, 256, (2, 1, 4, 4)).astype(np.uint8)
  made = model()
  frames = jnp.asarray(np.stack([known, unknown], 1))
  context = builders.filled(
    Context, None, example=builders.example(1, unroll=1, n_step=0, frames=frames)
  )
  term = losses.novelty(made, stack=1)

  shapes = jax.eval_shape(made.init, jax.random.key(0))
  scale = 1 / np.sqrt(64)
  begun = jax.tree.map(lambda x: scale * random.normal(size=x.shape).astype(np.float32), shapes)
  assert set(begun) == {"w", "novelty"}

  @jax.jit
  def learn(params):
    def step(_, params):
      gradient = jax.grad(lambda p: term.loss({"model": p}, context).sum())(params)
      return jax.tree.map(lambda x, g: x - 0.1 * g, params, gradient)

    learned = jax.lax.fori_loop(0, 100, step, params)
    both = jnp.concatenate([known, unknown])
    return novelty(made, params, both), novelty(made, learned, both)

  before, after = learn(begun)
  assert after[0] < 0.05 * before[0] and after[1] > 0.3 * before[1]


def test_images_are_standardized_and_vectors_are_not():
  """Pixels 2, 4, 4, 6 have mean 4 and variance 2."""
  image = standardized(jnp.array([[[2, 4], [4, 6]]], jnp.uint8))
  np.testing.assert_allclose(image[0], np.array([[-2, 0], [0, 2]]) / np.sqrt(2), rtol=1e-6)
  np.testing.assert_array_equal(standardized(jnp.array([[2.0, 6.0]])), [[2, 6]])


def test_a_model_without_a_predictor():
  with pytest.raises(ValueError, match="knows no novelty"):
    novelty(model()._replace(novelty=None), {}, jnp.zeros((1, 4, 4)))
