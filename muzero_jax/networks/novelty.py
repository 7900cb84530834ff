"""Random network distillation (Burda et al. 2018): a frame is novel where a network has not learned
to predict what a fixed random network says of it.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from muzero_jax.networks.heads import fixed_parameters
from muzero_jax.networks.model import apply
from muzero_jax.networks.vector import space_to_depth
from muzero_jax.types import Array, Model, Params

PATCHES = (4, 32), (2, 64)  # of images: side of a patch, features


class Features(nn.Module):
  """Frames [N, *frame_shape] -> features f32[N, width], by dense layers on patches."""

  depth: int  # fully connected layers before the last one
  width: int = 64

  @nn.compact
  def __call__(self, frames: Array) -> Array:
    x = standardized(frames)
    if x.ndim > 2:
      x = x.reshape(*x.shape[:3], -1)
      for side, features in PATCHES:
        x = nn.leaky_relu(nn.Dense(features)(space_to_depth(x, side)))
      x = x.reshape(x.shape[0], -1)
    for _ in range(self.depth):
      x = nn.relu(nn.Dense(self.width)(x))
    return nn.Dense(self.width)(x)


def standardized(frames: Array) -> Array:
  """Images with mean 0 and standard deviation 1 over their pixels, clipped to -5..5, f32; vectors
  as they are. The fixed network cannot adapt to the scale of what it sees.
  """
  x = frames.astype(jnp.float32)
  if x.ndim < 3:
    return x
  axes = tuple(range(1, x.ndim))
  x = x - x.mean(axes, keepdims=True)
  return jnp.clip(x / jnp.maximum(x.std(axes, keepdims=True), 1e-3), -5.0, 5.0)


def with_novelty(model: Model, frames: jax.ShapeDtypeStruct) -> Model:
  """Adds the predictor to a model, as an entry "novelty" of its parameters. The other parameters
  are initialized as without it. The random network is the same in all runs, and no parameter.

  Args:
    model: without it.
    frames: shape and dtype of one stack, [S, *frame_shape].
  """
  predictor, fixed = Features(depth=2), Features(depth=1)
  frame = jnp.zeros((1, *frames.shape[1:]), frames.dtype)
  target = fixed_parameters(fixed, frame)

  def init(key: Array) -> Params:
    return {**model.init(key), "novelty": predictor.init(jax.random.fold_in(key, 6), frame)}

  def novelty(params: Params, frames: Array) -> Array:
    error = apply(predictor, params["novelty"], frames) - apply(fixed, target, frames)
    return jnp.mean(jnp.square(error), -1)

  return model._replace(init=init, novelty=novelty)


def novelty(model: Model, params: Params, frames: Array) -> Array:
  """How novel frames [N, *frame_shape] are, f32[N]: the mean squared error of the predictor.

  Raises:
    ValueError: the model has no predictor.
  """
  if model.novelty is None:
    raise ValueError("the model knows no novelty: add a predictor by `networks.novelty`")
  return model.novelty(params, frames)
