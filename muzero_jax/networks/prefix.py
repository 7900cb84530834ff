"""Value prefixes in place of single rewards (EfficientZero, Ye et al. 2021, section 4.2).

A single reward has to be predicted for the right step, which frames often do not tell. The sum of
the rewards since the root, which is all that a search adds to a value, is predicted instead, by an
LSTM over the hidden states of the unroll. The reward of a step is the difference of two sums.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from muzero_jax.networks.heads import bins, hidden_state, initializer
from muzero_jax.networks.model import Logits, apply
from muzero_jax.types import Array, Model, Params


class Prefix(nn.Module):
  """One step of the LSTM: states [N, ...], its state (c, h) f32[N, width] each -> its next state,
  logits of the value prefix f32[N, bins].
  """

  width: int
  bins: int

  def setup(self):
    self.features = nn.Dense(self.width)
    self.norm = nn.LayerNorm()
    self.cell = nn.OptimizedLSTMCell(self.width)
    self.head = Logits(self.width, self.bins)

  def __call__(
    self, state: Array, carry: tuple[Array, Array] | None = None
  ) -> tuple[tuple[Array, Array], Array]:
    x = state.reshape(state.shape[0], -1).astype(jnp.float32)
    zeros = jnp.zeros((state.shape[0], self.width))
    x = nn.relu(self.norm(self.features(x)))
    carry, output = self.cell(carry or (zeros, zeros), x)
    return carry, self.head(output)


def with_value_prefix(
  model: Model,
  frames: jax.ShapeDtypeStruct,
  discount: float,
  horizon: int = 5,
  width: int = 64,
) -> Model:
  """The same model with value prefixes. Its hidden states are vectors: that of the model, and the
  state of the LSTM. `step` still returns rewards, but without a gradient: only the loss of the
  value prefix trains them. The other parameters are initialized as without it.

  The prefix after j steps is the sum over i < j of discount^i times the reward of step i + 1. The
  reward of the j-th step is the difference to the prefix before, over discount^(j - 1).

  Args:
    model: with all its other heads.
    frames: shape and dtype of one stack, [S, *frame_shape].
    discount: per agent step.
    horizon: steps after which the LSTM and the sum begin anew, so that errors do not add up.
    width: of the LSTM.
  """
  outputs, plain = bins(model), hidden_state(model, frames)
  prefix = Prefix(width, outputs)
  init = initializer(model, frames, "prefix", prefix, 5)
  size, shape = plain.size, plain.shape[1:]

  def state(hidden: Array) -> Array:
    return hidden[:, :size].reshape(-1, *shape).astype(plain.dtype)

  def pack(state: Array, rest: tuple[Array, ...]) -> Array:
    flat = state.reshape(state.shape[0], -1).astype(jnp.float32)
    return jnp.concatenate([flat, *rest], 1)

  def encode(params: Params, frames: Array) -> Array:
    root = model.encode(params, frames)
    return pack(root, (jnp.zeros((root.shape[0], 2 * width + 2)),))

  def step(params: Params, hidden: Array, action: Array) -> tuple[Array, Array]:
    following, _ = model.step(params, state(hidden), action)
    rest = hidden[:, size:]
    rest = jnp.where(rest[:, -1:] >= horizon, 0.0, rest)  # begins anew
    c, h, before, count = jnp.split(rest, (width, 2 * width, 2 * width + 1), 1)
    (c, h), logits = apply(prefix, params["prefix"], following, (c, h))
    total = jax.lax.stop_gradient(model.decode(logits))[:, None]
    reward = (total - before) / discount**count
    probabilities = model.encode_scalar(jax.lax.stop_gradient(reward[:, 0]))
    rewards = jnp.log(jnp.maximum(probabilities, jnp.finfo(jnp.float32).tiny))
    return pack(following, (c, h, total, count + 1)), rewards

  def logits(params: Params, hidden: Array) -> Array:
    output = hidden[:, size + width : size + 2 * width]
    return apply(Logits(width, outputs), {"params": params["prefix"]["params"]["head"]}, output)

  def of_state(head):
    return head and (lambda params, hidden: head(params, state(hidden)))

  return model._replace(
    init=init,
    encode=encode,
    predict=of_state(model.predict),
    step=step,
    second=of_state(model.second),
    log_variance=of_state(model.log_variance),
    ensemble=of_state(model.ensemble),
    q=model.q and model.q._replace(logits=of_state(model.q.logits)),
    core=state,
    prefix=logits,
  )


def prefix_logits(model: Model, params: Params, hidden: Array) -> Array:
  """Logits of the value prefix at hidden states [N, ...] after the root, f32[N, bins].

  Raises:
    ValueError: the model has no value prefix.
  """
  if model.prefix is None:
    raise ValueError("the model has no value prefix: add one by `networks.prefix`")
  return model.prefix(params, hidden)
