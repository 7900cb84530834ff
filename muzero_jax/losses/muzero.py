"""The MuZero loss (Schrittwieser et al. 2020, eq. 1) as three terms: reward, value and policy.

Cross-entropies in float32. How much the root and each later step count is `step_weights`.
"""

import jax.numpy as jnp
import optax

from muzero_jax.types import Array, Context, Key, Model, Params, Term


def cross_entropy(probabilities: Array, logits: Array) -> Array:
  """-sum p log softmax(logits) over the last axis, in float32."""
  return optax.softmax_cross_entropy(logits.astype(jnp.float32), probabilities)


def step_weights(unroll: int, kind: str) -> Array:
  """What each step of the unroll counts, f32[k+1].

  Args:
    unroll: k.
    kind: "root": the root 1 and every later step 1/k, so that the unroll as a whole counts as much
      as the root (MuZero, appendix G); "equal": every step 1/k (EfficientZero, Ye et al. 2021, and
      its relatives).
  """
  return jnp.concatenate(
    [jnp.full(1, 1.0 if kind == "root" else 1 / unroll), jnp.full(unroll, 1 / unroll)]
  )


def _no_parameters(key: Key) -> Params:
  del key
  return {}


def reward(model: Model) -> Term:
  """Of the k transitions of the unroll, the one into the terminal state and those between absorbing
  states included.
  """

  def loss(params: Params, context: Context) -> Array:
    del params
    errors = cross_entropy(model.encode_scalar(context.targets.reward), context.reward_logits)
    return jnp.mean(errors * context.targets.target_mask[:, 1:], -1)

  return Term(_no_parameters, loss)


def value(model: Model, steps: str = "root") -> Term:
  """Of the k+1 states of the unroll, absorbing ones included; `steps`: a kind of `step_weights`."""

  def loss(params: Params, context: Context) -> Array:
    del params
    targets = context.targets
    errors = cross_entropy(model.encode_scalar(targets.value), context.value_logits)
    return jnp.sum(
      errors * targets.target_mask * step_weights(errors.shape[1] - 1, steps)[None], -1
    )

  return Term(_no_parameters, loss)


def policy(model: Model, steps: str = "root") -> Term:
  """Of those of the k+1 states in which there is something to decide; `steps`: a kind of
  `step_weights`.
  """
  del model

  def loss(params: Params, context: Context) -> Array:
    del params
    errors = cross_entropy(context.targets.policy, context.policy_logits)
    return jnp.sum(
      errors * context.targets.policy_mask * step_weights(errors.shape[1] - 1, steps)[None], -1
    )

  return Term(_no_parameters, loss)
