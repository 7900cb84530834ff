"""An entropy bonus for the policy (Williams and Peng 1991; A3C, Mnih et al. 2016, section 4).

A policy gradient makes the policy more certain in every state that it visits, also where the
actions are equally good and only the noise of the returns differs. The bonus keeps such actions in
use, so that later returns can still say which of them is better.
"""

import jax
import jax.numpy as jnp

from muzero_jax.losses.common import over_policies
from muzero_jax.types import Array, Context, Model, Term


def entropy(model: Model, steps: str = "root") -> Term:
  """Makes the loss term: the negative entropy of the policy, in nats (see `common.over_policies`).

  The model is not used.
  """
  del model

  def negative(context: Context) -> Array:
    log_policy = jax.nn.log_softmax(context.policy_logits.astype(jnp.float32))
    return jnp.sum(jnp.exp(log_policy) * log_policy, -1)

  return over_policies(negative, steps)
