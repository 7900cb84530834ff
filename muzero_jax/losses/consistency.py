"""The consistency loss of EfficientZero (Ye et al. 2021, section 4.1): unrolled hidden states
should agree with the encodings of the frames that followed.

The loss is that of SimSiam (Chen and He 2021): the negative cosine similarity of the unrolled
hidden state, projected and passed through the predictor, and the encoding of the later frames,
projected, without gradient. Projector and predictor use batch norm: without it the projections
of all hidden states of one game are alike, and the similarity is high whatever the dynamics
predicts. The model itself has no batch norm, so that it computes the same function in acting and in
learning.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from muzero_jax.losses.common import per_state, reached
from muzero_jax.networks.model import apply
from muzero_jax.types import Array, Context, Key, Model, Params, Term


class BatchNorm(nn.Module):
  """Batch norm over f32[N, width], with learned scale and bias but without running statistics.

  Mean and variance are weighted by `weight`, f32[N], so that rows that are masked in the loss
  (weight 0) do not affect the others.
  """

  @nn.compact
  def __call__(self, x: Array, weight: Array) -> Array:
    share = weight[:, None] / jnp.maximum(weight.sum(), 1.0)
    scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
    bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
    centered = x - jnp.sum(share * x, 0, keepdims=True)
    normal = centered * jax.lax.rsqrt(
      jnp.sum(share * jnp.square(centered), 0, keepdims=True) + 1e-5
    )
    return scale[None] * normal + bias[None]


class Projector(nn.Module):
  """Three layers: hidden states [N, ...], weights f32[N] -> f32[N, width]."""

  width: int

  @nn.compact
  def __call__(self, x: Array, weight: Array) -> Array:
    x = x.reshape(x.shape[0], -1).astype(jnp.float32)
    for _ in range(2):
      x = nn.relu(BatchNorm()(nn.Dense(self.width)(x), weight))
    return BatchNorm()(nn.Dense(self.width)(x), weight)


class Predictor(nn.Module):
  """Two layers, with a bottleneck of width / 2: f32[N, width], weights f32[N] -> f32[N, width]."""

  width: int

  @nn.compact
  def __call__(self, x: Array, weight: Array) -> Array:
    return nn.Dense(self.width)(nn.relu(BatchNorm()(nn.Dense(self.width // 2)(x), weight)))


def consistency(model: Model, stack: int, hidden: jax.ShapeDtypeStruct, width: int = 1024) -> Term:
  """Makes the loss term. Its examples must hold k later frames (E >= k).

  Args:
    model: its `encode` computes the targets.
    stack: S.
    hidden: shape of one hidden state with a batch axis.
    width: of the projections.
  """
  projector, predictor = Projector(width), Predictor(width)
  hidden = jax.eval_shape(model.core, hidden)

  def init(key: Key) -> Params:
    keys = jax.random.split(key)
    projected, projector_params = projector.init_with_output(
      keys[0], jnp.zeros(hidden.shape), jnp.ones(1)
    )
    return {
      "projector": projector_params,
      "predictor": predictor.init(keys[1], projected, jnp.ones(1)),
    }

  def loss(params: Params, context: Context) -> Array:
    own = params["consistency"]
    size, steps = context.hidden.shape[0], context.hidden.shape[1] - 1
    seen = model.core(reached(model, params, context, stack))
    unrolled = model.core(per_state(context.hidden[:, 1:]))
    policy_mask = context.targets.policy_mask[:, 1:]
    weight = policy_mask.reshape(-1)
    target = jax.lax.stop_gradient(apply(projector, own["projector"], seen, weight))
    prediction = apply(
      predictor, own["predictor"], apply(projector, own["projector"], unrolled, weight), weight
    )
    similarity = jnp.sum(_unit(prediction) * _unit(target), -1).reshape(size, steps)
    return -jnp.mean(similarity * policy_mask, -1)

  return Term(init, loss)


def _unit(x: Array) -> Array:
  """x scaled to length 1. A zero vector stays zero and has a finite gradient, not a norm's NaN."""
  return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, -1, keepdims=True), 1e-12))
