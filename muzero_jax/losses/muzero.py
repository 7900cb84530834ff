"""The MuZero loss (Schrittwieser et al. 2020, eq. 1) as three terms: reward, value and policy.

All are cross-entropies in float32. `common.step_weights` weights the root against the later steps.
"""

import jax.numpy as jnp

from muzero_jax.losses.common import cross_entropy, no_parameters, over_policies, weighted_sum
from muzero_jax.types import Array, Context, Model, Params, Term


def reward(model: Model) -> Term:
  """The reward loss: the mean over the k transitions of the unroll.

  It includes the transition into the terminal state, and those between absorbing states.
  """

  def loss(params: Params, context: Context) -> Array:
    del params
    errors = cross_entropy(model.encode_scalar(context.targets.reward), context.reward_logits)
    return jnp.mean(errors * context.targets.target_mask[:, 1:], -1)

  return Term(no_parameters, loss)


def value(model: Model, steps: str = "root") -> Term:
  """The value loss: the sum over the k+1 states of the unroll, absorbing ones included.

  Args:
    model: encodes the targets as categorical distributions.
    steps: a kind of `common.step_weights`.
  """

  def loss(params: Params, context: Context) -> Array:
    del params
    targets = context.targets
    errors = cross_entropy(model.encode_scalar(targets.value), context.value_logits)
    return weighted_sum(errors, targets.target_mask, steps)

  return Term(no_parameters, loss)


def policy(model: Model, steps: str = "root") -> Term:
  """The policy loss (see `common.over_policies`); the model is not used."""
  del model
  return over_policies(
    lambda context: cross_entropy(context.targets.policy, context.policy_logits), steps
  )
