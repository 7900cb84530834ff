"""The MuZero loss (Schrittwieser et al. 2020, eq. 1) as three terms: reward, value and policy.

All are cross-entropies in float32. `step_weights` weights the root against the later steps.
"""

import jax.numpy as jnp
import optax

from muzero_jax.types import Array, Context, Key, Model, Params, Term


def cross_entropy(probabilities: Array, logits: Array) -> Array:
  """The cross-entropy -sum p log softmax(logits) over the last axis, in float32."""
  return optax.softmax_cross_entropy(logits.astype(jnp.float32), probabilities)


def step_weights(unroll: int, kind: str) -> Array:
  """The weights of the unroll's steps in the value and policy losses, f32[k+1].

  Args:
    unroll: k.
    kind: "root": 1 for the root and 1/k for every later step, so that all later steps together
      weigh as much as the root (MuZero, appendix G); "equal": 1/k for every step (EfficientZero,
      Ye et al. 2021, and its successors).
  """
  share = 1 / max(unroll, 1)
  return jnp.concatenate([jnp.full(1, 1.0 if kind == "root" else share), jnp.full(unroll, share)])


def _no_parameters(key: Key) -> Params:
  del key
  return {}


def reward(model: Model) -> Term:
  """The reward loss: the mean over the k transitions of the unroll.

  It includes the transition into the terminal state, and those between absorbing states.
  """

  def loss(params: Params, context: Context) -> Array:
    del params
    errors = cross_entropy(model.encode_scalar(context.targets.reward), context.reward_logits)
    return jnp.mean(errors * context.targets.target_mask[:, 1:], -1)

  return Term(_no_parameters, loss)


def value(model: Model, steps: str = "root") -> Term:
  """The value loss: the sum over the k+1 states of the unroll, absorbing ones included.

  Args:
    model: encodes the targets as categorical distributions.
    steps: a kind of `step_weights`.
  """

  def loss(params: Params, context: Context) -> Array:
    del params
    targets = context.targets
    errors = cross_entropy(model.encode_scalar(targets.value), context.value_logits)
    return jnp.sum(
      errors * targets.target_mask * step_weights(errors.shape[1] - 1, steps)[None], -1
    )

  return Term(_no_parameters, loss)


def policy(model: Model, steps: str = "root") -> Term:
  """The policy loss: the sum over those of the k+1 states of the unroll that are not absorbing.

  Args:
    model: not used.
    steps: a kind of `step_weights`.
  """
  del model

  def loss(params: Params, context: Context) -> Array:
    del params
    errors = cross_entropy(context.targets.policy, context.policy_logits)
    return jnp.sum(
      errors * context.targets.policy_mask * step_weights(errors.shape[1] - 1, steps)[None], -1
    )

  return Term(_no_parameters, loss)
