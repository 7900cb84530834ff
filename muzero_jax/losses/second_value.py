"""The loss of a second value head, whose returns have another discount.

The head's parameters are among the model's (`networks.horizon.with_second_value`).
"""

import functools

import jax

from muzero_jax.losses.common import cross_entropy, no_parameters, per_state, weighted_sum
from muzero_jax.networks.horizon import second_logits
from muzero_jax.targets.bootstrap import TargetNetwork
from muzero_jax.targets.returns import Returns
from muzero_jax.targets.unroll import reward_and_value
from muzero_jax.types import Array, Context, Model, Params, Term


def second_value(model: Model, returns: Returns, stack: int, steps: str = "root") -> Term:
  """Makes the loss term. Its examples must hold all later frames (E = k + n).

  The targets are returns by the same recursion as those of the value. They bootstrap from the
  second value itself, as the current network predicts it, without gradient: what the search
  recorded has the first discount.

  Args:
    model: with a second value head.
    returns: the settings of the returns, with the second discount.
    stack: S.
    steps: a kind of `common.step_weights`.
  """

  def predict(params: Params, hidden: Array) -> tuple[Array, Array]:
    return model.predict(params, hidden)[0], second_logits(model, params, hidden)

  def targets(params: Params, context: Context) -> Array:
    unroll = context.hidden.shape[1] - 1
    bootstrap = TargetNetwork(
      model._replace(predict=predict),
      stack,
      unroll,
      returns.n_step,
      every_step=returns.td_lambda < 1,
      stale_after=returns.stale_after,
    )
    make = functools.partial(reward_and_value, unroll=unroll, returns=returns)
    value = bootstrap(jax.lax.stop_gradient(params["model"]), context.example)
    return jax.lax.stop_gradient(jax.vmap(make)(context.example, value)[1])

  def loss(params: Params, context: Context) -> Array:
    size, count = context.hidden.shape[:2]
    logits = second_logits(model, params["model"], per_state(context.hidden))
    logits = logits.reshape(size, count, -1)
    errors = cross_entropy(model.encode_scalar(targets(params, context)), logits)
    return weighted_sum(errors, context.targets.target_mask, steps)

  return Term(no_parameters, loss)
