"""A head that predicts how far the value is from the returns."""

import jax
import jax.numpy as jnp

from muzero_jax.networks.heads import initializer
from muzero_jax.networks.model import Logits, apply
from muzero_jax.types import Array, Model, Params


def with_uncertainty(model: Model, frames: jax.ShapeDtypeStruct, width: int = 64) -> Model:
  """Adds the head to a model. Its parameters are an entry "uncertainty" of the model's, so that
  searches have them. The other parameters are initialized as without it.

  Args:
    model: without this head.
    frames: shape and dtype of one stack, [S, *frame_shape].
    width: of the head's hidden layer.
  """
  head = Logits(width, 1)
  init = initializer(model, frames, "uncertainty", head, 3)

  def log_variance(params: Params, hidden: Array) -> Array:
    return apply(head, params["uncertainty"], hidden)[:, 0]

  return model._replace(init=init, log_variance=log_variance)


def log_variance(model: Model, params: Params, hidden: Array) -> Array:
  """The log of the expected squared difference of value and return, f32[N], for hidden states
  [N, ...]; 0 at initialization.

  Raises:
    ValueError: the model has no such head.
  """
  if model.log_variance is None:
    raise ValueError(
      "the model predicts no uncertainty: add a head by `networks.uncertainty` or `ensemble`"
    )
  return model.log_variance(params, hidden)


def uncertainty(model: Model, params: Params, hidden: Array) -> Array:
  """The predicted standard deviation of (return - value), f32[N], in units of return; raises
  ValueError as `log_variance` does.
  """
  return jnp.exp(log_variance(model, params, hidden) / 2)
