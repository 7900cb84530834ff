"""The loss of the value prefix, in place of the reward loss (EfficientZero, Ye et al. 2021, section
4.2).

The LSTM's parameters are among the model's (`networks.prefix.with_value_prefix`).
"""

import jax.numpy as jnp

from muzero_jax.losses.common import cross_entropy, no_parameters, per_state
from muzero_jax.networks.prefix import prefix_logits
from muzero_jax.types import Array, Context, Model, Params, Term


def prefixes(reward: Array, discount: float, horizon: int) -> Array:
  """The value prefixes after steps 1 .. k, f32[N, k]: sums of discounted rewards since the root, or
  since the last of the steps horizon, 2 horizon, ...

  Args:
    reward: f32[N, k], of steps 1 .. k.
    discount: per agent step.
    horizon: steps after which the sum begins anew.
  """
  step = jnp.arange(reward.shape[1])
  since = step[:, None] - step[None]  # from the reward's step (second axis) on
  counts = (since >= 0) & (step[:, None] // horizon == step[None] // horizon)
  weight = jnp.where(counts, discount ** (step % horizon)[None].astype(jnp.float32), 0.0)
  return reward @ weight.T


def value_prefix(model: Model, discount: float, horizon: int) -> Term:
  """Makes the loss term: the cross-entropy, a mean over the k transitions of the unroll.

  Args:
    model: with a value prefix.
    discount: per agent step, that of the model's value prefix.
    horizon: that of the model's value prefix.
  """

  def loss(params: Params, context: Context) -> Array:
    targets = context.targets
    logits = prefix_logits(model, params["model"], per_state(context.hidden[:, 1:]))
    logits = logits.reshape(*targets.reward.shape, -1)
    wanted = model.encode_scalar(prefixes(targets.reward, discount, horizon))
    return jnp.mean(cross_entropy(wanted, logits) * targets.target_mask[:, 1:], -1)

  return Term(no_parameters, loss)
