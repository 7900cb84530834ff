"""What loss terms share."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from muzero_jax.networks.model import encode_many
from muzero_jax.replay.stacks import stacks
from muzero_jax.types import Array, Context, Key, Model, Params, Term


def no_parameters(key: Key) -> Params:
  """The `init` of a term without parameters of its own."""
  del key
  return {}


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


def weighted_sum(losses: Array, mask: Array, kind: str) -> Array:
  """The sum of f32[N, k+1] over the steps where a mask of that shape is 1, weighted by
  `step_weights`, f32[N].
  """
  return jnp.sum(losses * mask * step_weights(losses.shape[1] - 1, kind)[None], -1)


def over_policies(errors: Callable[[Context], Array], steps: str) -> Term:
  """Makes a loss term without parameters: the sum over those of the k+1 states of the unroll that
  are not absorbing.

  Args:
    errors: f32[N, k+1] of a batch.
    steps: a kind of `step_weights`.
  """

  def loss(params: Params, context: Context) -> Array:
    del params
    return weighted_sum(errors(context), context.targets.policy_mask, steps)

  return Term(no_parameters, loss)


def acted(context: Context) -> Array:
  """f32[N, k+1], 1 at the steps whose action led to the next state.

  It did not in absorbing states, nor at the last step of an episode, after which the environment
  is reset.
  """
  mask = context.targets.policy_mask
  return mask * ~context.example.last[:, : mask.shape[1]]


def per_state(hidden: Array) -> Array:
  """Hidden states [N, k+1, ...] with the two batch axes as one, [N * (k+1), ...]."""
  return hidden.reshape(-1, *hidden.shape[2:])


def reached(model: Model, params: Params, context: Context, stack: int) -> Array:
  """The encodings of the frames at the k steps after the root, [N * k, ...], without gradient."""
  later = 1 + jnp.arange(context.hidden.shape[1] - 1)
  frozen = jax.lax.stop_gradient(params["model"])
  return encode_many(model, frozen, stacks(context.example, later, stack))
