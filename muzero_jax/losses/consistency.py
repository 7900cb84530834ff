"""Latent consistency (EfficientZero, Ye et al. 2021, section 4.1): what the dynamics predicts
should look like what the encoder sees.

SimSiam (Chen and He 2021): the unrolled latent is projected and predicted, the encoded later frame
is projected without gradient, and their negative cosine similarity is the loss. Projector and
predictor normalize by the statistics of the batch: without, all latents of one game project alike,
and the similarity is high whatever the dynamics predicts. Nothing else in the model does: acting
and learning compute the same function.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from muzero_jax.networks.model import apply, encode_many
from muzero_jax.replay.frames import stacks
from muzero_jax.types import Array, Context, Key, Model, Params, Term


class BatchNorm(nn.Module):
  """f32[N, width], each unit by its mean and variance over the batch, then scaled and shifted.
  Keeps no running statistics.

  Rows count with `weight` f32[N]: one that is masked in the loss, weight 0, must not move the
  others.
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
  """Latents [N, ...], weights f32[N] -> f32[N, width], in three layers."""

  width: int

  @nn.compact
  def __call__(self, x: Array, weight: Array) -> Array:
    x = x.reshape(x.shape[0], -1).astype(jnp.float32)
    for _ in range(2):
      x = nn.relu(BatchNorm()(nn.Dense(self.width)(x), weight))
    return BatchNorm()(nn.Dense(self.width)(x), weight)


class Predictor(nn.Module):
  """f32[N, width], weights f32[N] -> f32[N, width], through half the width."""

  width: int

  @nn.compact
  def __call__(self, x: Array, weight: Array) -> Array:
    return nn.Dense(self.width)(nn.relu(BatchNorm()(nn.Dense(self.width // 2)(x), weight)))


def consistency(model: Model, stack: int, hidden: jax.ShapeDtypeStruct, width: int = 1024) -> Term:
  """The term; its examples must come with k later frames.

  Args:
    model: its `encode` gives the targets.
    stack: S.
    hidden: shape of one latent with a batch axis.
    width: of the projections.
  """
  projector, predictor = Projector(width), Predictor(width)

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
    frozen = jax.lax.stop_gradient(params["model"])
    seen = encode_many(model, frozen, stacks(context.example, 1 + jnp.arange(steps), stack))
    unrolled = context.hidden[:, 1:].reshape(-1, *context.hidden.shape[2:])
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
  """x at length 1; a zero vector stays zero, with a finite gradient (that of a norm is NaN
  there).
  """
  return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, -1, keepdims=True), 1e-12))
