"""Makes a `Model` of pure functions from flax modules, and code that all networks share: the input,
the scaling of hidden states, and the output layers of heads.
"""

import functools
import typing
from typing import Any, NamedTuple, Protocol

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from muzero_jax.networks.cpu.cached import mapped
from muzero_jax.networks.scalars import Support
from muzero_jax.types import Array, Model, Params, Root, applied


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def largest(x: Array, axes: tuple[int, ...]) -> Array:
  """The maximum over `axes`, which are kept with size 1.

  Its gradient is that of `jnp.max`, shared by all entries that are equal to the maximum. If none is
  equal, it is 0 and not 0/0: XLA may compute `x` again for the comparison, in a kernel that rounds
  in another way.
  """
  return jnp.max(x, axes, keepdims=True)


def _largest(x: Array, axes: tuple[int, ...]) -> tuple[Array, tuple[Array, Array]]:
  found = jnp.max(x, axes, keepdims=True)
  return found, (x, found)


def _largest_gradient(
  axes: tuple[int, ...], kept: tuple[Array, Array], gradient: Array
) -> tuple[Array]:
  x, found = kept
  where = (x == found).astype(gradient.dtype)
  return (gradient / jnp.maximum(where.sum(axes, keepdims=True), 1) * where,)


largest.defvjp(_largest, _largest_gradient)


def scale_hidden(hidden: Array, epsilon: float = 1e-5) -> Array:
  """Scales each hidden state of [N, ...] to 0..1 by its own minimum and maximum (MuZero, appendix
  G). A constant one becomes 0.
  """
  axes = tuple(range(1, hidden.ndim))
  low = -typing.cast(Array, largest(-hidden, axes))
  high = typing.cast(Array, largest(hidden, axes))
  return (hidden - low) / jnp.maximum(high - low, epsilon)


def stacked_input(frames: Array, dtype) -> Array:
  """The network's input: the newest frame, and the differences between consecutive frames.

  This is a linear map of the stack. Small moving objects, such as Pong's ball, stand out in the
  differences, but hardly in frames that are mostly static.

  Args:
    frames: [N, S, *frame_shape]; u8 is scaled to 0..1.
    dtype: of the result.

  Returns:
    [N, H, W, channels], or [N, features] for vector observations.
  """
  frames = frames.astype(dtype) / (255 if frames.dtype == jnp.uint8 else 1)
  newest = frames[:, -1:]
  inputs = jnp.concatenate([newest, frames[:, 1:] - frames[:, :-1]], 1)
  if inputs.ndim == 3:
    return inputs.reshape(inputs.shape[0], -1)
  if inputs.ndim == 4:
    return jnp.moveaxis(inputs, 1, -1)
  return jnp.moveaxis(inputs, 1, -2).reshape(*inputs.shape[0:1], *inputs.shape[2:4], -1)


class Logits(nn.Module):
  """The last two layers of a head, in float32: [N, ...] -> f32[N, outputs].

  The last layer is initialized to zero, so that initial predictions are uniform.
  """

  hidden: int
  outputs: int

  @nn.compact
  def __call__(self, x: Array) -> Array:
    x = x.reshape(x.shape[0], -1).astype(jnp.float32)
    x = nn.relu(nn.LayerNorm()(nn.Dense(self.hidden)(x)))
    return nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)(x)


class Modules(NamedTuple):
  """The flax modules of a network."""

  representation: nn.Module  # frames u8[N, S, *frame_shape] -> hidden [N, ...]
  dynamics: nn.Module  # hidden, action i32[N] -> hidden, reward logits f32[N, bins]
  prediction: nn.Module  # hidden -> policy logits f32[N, A], value logits f32[N, bins]


class Network(Protocol):
  """Makes the modules of one kind of network: `mlp`, `vector`, `resnet` or `hadamax`."""

  def __call__(self, size: str, num_actions: int, bins: int, dtype: Any, platform: str) -> Modules:
    """Makes them, of one of the sizes that the kind has.

    Scalars (rewards and values) are logits over `bins`; other arguments are as in `make_model`.
    """
    ...


def make_model(
  network: Network,
  size: str,
  num_actions: int,
  support: Support,
  frames: jax.ShapeDtypeStruct,
  dtype: Any = jnp.float32,
  platform: str = "cpu",
) -> Model:
  """Makes a `Model` from the modules of a network.

  Args:
    network: makes the modules.
    size: of the network.
    num_actions: A.
    support: of values and rewards, which are logits over its bins.
    frames: shape and dtype of one stack, [S, *frame_shape].
    dtype: of the trunk; heads are float32.
    platform: of the devices: "cpu", "gpu" or "tpu".
  """
  representation, dynamics, prediction = network(size, num_actions, support.bins, dtype, platform)

  def init(key) -> Params:
    keys = jax.random.split(key, 3)
    stack = jnp.zeros((1, *frames.shape), frames.dtype)
    hidden, represented = representation.init_with_output(keys[0], stack)
    return {
      "representation": represented,
      "dynamics": dynamics.init(keys[1], hidden, jnp.zeros(1, jnp.int32)),
      "prediction": prediction.init(keys[2], hidden),
    }

  return Model(
    init=init,
    encode=lambda params, frames: apply(representation, params["representation"], frames),
    predict=lambda params, hidden: apply(prediction, params["prediction"], hidden),
    step=lambda params, hidden, action: apply(dynamics, params["dynamics"], hidden, action),
    decode=support.decode,
    encode_scalar=support.encode,
    cast=functools.partial(cast, dtype=dtype),
    mapped=mapped if platform == "cpu" else applied,
  )


# Modules that compute with float32 parameters, whatever the dtype of the trunk.
FLOAT32 = ("Logits", "LayerNorm")


def cast(params: Params, dtype: Any) -> Params:
  """`Model.cast`: casts what layers of dynamics and prediction would cast themselves."""

  def one(path: tuple, x: Array) -> Array:
    names = [str(getattr(key, "key", "")) for key in path]
    return x if any(name.startswith(FLOAT32) for name in names) else x.astype(dtype)

  used = {name: params[name] for name in ("dynamics", "prediction")}
  return {**params, **jax.tree_util.tree_map_with_path(one, used)}


def apply(module: nn.Module, params: Params, *inputs: Any) -> Any:
  """`module.apply`, typed to return the output only; flax's type includes mutated variables."""
  return module.apply(params, *inputs)


def encode_many(model: Model, params: Params, frames: Array) -> Array:
  """`model.encode` for any number of stacks u8[N, S, *frame_shape], without a gradient.

  On the CPU they are encoded in chunks: the activations of hundreds of stacks do not fit into its
  caches, and take gigabytes.
  """
  return model.mapped(functools.partial(model.encode, params), frames)


def initial_inference(model: Model, params: Params, frames: Array) -> Root:
  """MuZero's initial inference: makes the roots of a search from stacks u8[N, S, *frame_shape]."""
  hidden = encode_many(model, params, frames)
  policy_logits, value_logits = model.predict(params, hidden)
  value = model.decode(value_logits)
  size, name = frames.shape[0], "of the model's policy logits and value"
  chex.assert_shape([policy_logits, value], [(size, None), (size,)], custom_message=name)
  chex.assert_type([policy_logits, value], jnp.float32, custom_message=name)
  return Root(hidden, policy_logits, value)
