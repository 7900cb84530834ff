"""The loss of an ensemble of value heads with random priors (Osband et al. 2018): every member,
with its prior, learns the returns.

The ensemble's parameters are among the model's (`networks.ensemble.with_ensemble`).
"""

import jax
import jax.numpy as jnp

from muzero_jax.losses.common import cross_entropy, no_parameters, per_state, weighted_sum
from muzero_jax.networks.ensemble import member_logits
from muzero_jax.types import Array, Context, Model, Params, Term


def ensemble(model: Model, steps: str = "root") -> Term:
  """Makes the loss term: the mean over members of the cross-entropy with (return - prior).

  It moves the heads of the ensemble alone.

  Args:
    model: with an ensemble.
    steps: a kind of `common.step_weights`.
  """

  def loss(params: Params, context: Context) -> Array:
    size, count = context.hidden.shape[:2]
    hidden = jax.lax.stop_gradient(per_state(context.hidden))
    logits, prior = member_logits(model, params["model"], hidden)
    wanted = model.encode_scalar(context.targets.value.reshape(-1, 1) - prior)
    losses = jnp.mean(cross_entropy(wanted, logits), -1).reshape(size, count)
    return weighted_sum(losses, context.targets.target_mask, steps)

  return Term(no_parameters, loss)
