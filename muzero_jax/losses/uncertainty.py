"""The loss of a head that predicts the value's squared error: the negative log-likelihood of a
Gaussian around the value (Nix and Weigend 1994; Kendall and Gal 2017, eq. 5).

What is predicted is the error of the value and the noise of returns together. The loss is smallest
where the predicted variance is the mean squared error of the states that look alike, so that the
head is calibrated where it has learned.

The head's parameters are among the model's (`networks.uncertainty.with_uncertainty`).
"""

import jax
import jax.numpy as jnp

from muzero_jax.losses.common import no_parameters, per_state, weighted_sum
from muzero_jax.networks.uncertainty import log_variance
from muzero_jax.types import Array, Context, Model, Params, Term

# Log-variances are clipped to plus or minus this, which bounds the weight of an example.
LARGEST = 10.0


def uncertainty(model: Model, steps: str = "root") -> Term:
  """Makes the loss term, (s + e^2 exp(-s)) / 2 with e = return - value and s the log-variance.

  It moves the head alone: neither the value nor the hidden states follow it, which would make
  states with large errors look alike.

  Args:
    model: with an uncertainty head.
    steps: a kind of `common.step_weights`.
  """

  def loss(params: Params, context: Context) -> Array:
    size, count = context.hidden.shape[:2]
    hidden = jax.lax.stop_gradient(per_state(context.hidden))
    logs = log_variance(model, params["model"], hidden).reshape(size, count)
    logs = jnp.clip(logs, -LARGEST, LARGEST)
    value = jax.lax.stop_gradient(model.decode(context.value_logits))
    errors = jnp.square(context.targets.value - value)
    losses = (logs + errors * jnp.exp(-logs)) / 2
    return weighted_sum(losses, context.targets.target_mask, steps)

  return Term(no_parameters, loss)
