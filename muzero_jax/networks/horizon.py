"""A second value head, for a value of another discount."""

import jax

from muzero_jax.networks.heads import bins, initializer
from muzero_jax.networks.model import Logits, apply
from muzero_jax.types import Array, Model, Params


def with_second_value(model: Model, frames: jax.ShapeDtypeStruct, width: int = 64) -> Model:
  """Adds a second value head to a model. Its parameters are an entry "second" of the model's, so
  that searches have them. The other parameters are initialized as without it.

  Args:
    model: without this head.
    frames: shape and dtype of one stack, [S, *frame_shape].
    width: of the head's hidden layer.
  """
  head = Logits(width, bins(model))
  init = initializer(model, frames, "second", head, 2)

  return model._replace(
    init=init, second=lambda params, hidden: apply(head, params["second"], hidden)
  )


def second_logits(model: Model, params: Params, hidden: Array) -> Array:
  """Logits of the second value of hidden states [N, ...], f32[N, bins].

  Raises:
    ValueError: the model has no second value head.
  """
  if model.second is None:
    raise ValueError("the model has no second value: add one by `networks.horizon`")
  return model.second(params, hidden)


def second_value(model: Model, params: Params, hidden: Array) -> Array:
  """The second value of hidden states [N, ...], f32[N], in units of return; raises ValueError as
  `second_logits` does.
  """
  return model.decode(second_logits(model, params, hidden))
