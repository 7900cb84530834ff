"""Loss terms of the Q head: returns of the actions taken, and the Q that a search recorded.

The head's parameters are among the model's (`networks.q.with_q`).
"""

import jax.numpy as jnp

from muzero_jax.losses.common import acted, no_parameters, per_state, weighted_sum
from muzero_jax.networks.q import q_head
from muzero_jax.types import Array, Context, Model, Params, Term


def q(model: Model, steps: str = "root") -> Term:
  """The loss of Q(s, a) for the actions a taken, whose targets are the n-step returns.

  With `--targets.bootstrap=q_double` and an unroll of 0 this is DQN's loss with double Q-learning
  (van Hasselt et al. 2016, eq. 4). It is the sum over those of the k+1 steps of the unroll from
  which a transition starts: absorbing states and the last step of an episode do not count.

  Args:
    model: with a Q head.
    steps: a kind of `common.step_weights`.
  """
  head = q_head(model)

  def loss(params: Params, context: Context) -> Array:
    size, count = context.targets.value.shape
    hidden = per_state(context.hidden)
    action = context.example.action[:, :count]
    logits = taken(head.logits(params["model"], hidden), action.reshape(-1))
    errors = head.loss(logits.reshape(size, count, -1), context.targets.value)
    return weighted_sum(errors, acted(context), steps)

  return Term(no_parameters, loss)


def q_search(model: Model) -> Term:
  """The loss of Q(s, a) at the root, for the action a taken, whose target is the search's Q of it.

  The replay records V and Q(a) - V of every search. It does not record the Q of the other actions,
  which would take A more numbers per step; an action is learned about when it is taken.

  Args:
    model: with a Q head.
  """
  head = q_head(model)

  def loss(params: Params, context: Context) -> Array:
    example = context.example
    logits = head.logits(params["model"], context.hidden[:, 0])
    return head.loss(taken(logits, example.action[:, 0]), example.value[:, 0] + example.advantage)

  return Term(no_parameters, loss)


def taken(logits: Array, action: Array) -> Array:
  """logits[i, action[i]] of f32[N, A, outputs], f32[N, outputs]."""
  return jnp.take_along_axis(logits, action[:, None, None], 1)[:, 0]
