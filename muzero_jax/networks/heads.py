"""Heads that are added to a model, with parameters of their own beside the model's."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.types import Array, Model, Params, T


def bins(model: Model) -> int:
  """The number of logits of a scalar of the model: a value or a reward."""
  return jax.eval_shape(model.encode_scalar, jax.ShapeDtypeStruct((), jnp.float32)).shape[-1]


def hidden_state(model: Model, frames: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
  """Shape and dtype of one hidden state with a batch axis, [1, ...].

  Args:
    model: any.
    frames: shape and dtype of one stack, [S, *frame_shape].
  """
  stack = jax.ShapeDtypeStruct((1, *frames.shape), frames.dtype)
  return jax.eval_shape(lambda key, x: model.encode(model.init(key), x), jax.random.key(0), stack)


def initializer(
  model: Model, frames: jax.ShapeDtypeStruct, name: str, head: nn.Module, number: int
) -> Callable[[Array], Params]:
  """The `init` of a model with one more head; the other parameters are initialized as without it.

  Args:
    model: without the head.
    frames: shape and dtype of one stack, [S, *frame_shape].
    name: the entry of the head's parameters among the model's, where searches and the target
      network find them.
    head: takes hidden states [N, ...].
    number: of the head; another one for each, so that their parameters are random independently.
  """
  stack = jax.ShapeDtypeStruct((1, *frames.shape), frames.dtype)

  def init(key: Array) -> Params:
    params = model.init(key)
    hidden = jax.eval_shape(model.encode, params, stack)
    own = head.init(jax.random.fold_in(key, number), jnp.zeros(hidden.shape, hidden.dtype))
    return {**params, name: own}

  return init


def fixed_parameters(module: nn.Module, x: Array | jax.ShapeDtypeStruct) -> Params:
  """Random parameters of a module that are never trained: f32 arrays, the same in every run."""
  random = np.random.RandomState(0)

  def one(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
    scale = np.sqrt(2 / leaf.shape[0]) if len(leaf.shape) > 1 else 0.1
    return (scale * random.normal(size=leaf.shape)).astype(np.float32)

  return jax.tree.map(one, jax.eval_shape(module.init, jax.random.key(0), x))


def part(found: T | None, missing: str) -> T:
  """A part of a model that only some models have.

  Args:
    found: the part, or None.
    missing: the error message: what is missing, and the function that adds it.

  Raises:
    ValueError: it is None.
  """
  if found is None:
    raise ValueError(missing)
  return found
