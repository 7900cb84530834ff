"""The loss of a model that jumps several steps (`networks.jump`), learned from the unroll.

A jump is to do what the dynamics do in j steps with the actions that were taken. From them, its
macro action is found by the model itself: a code, chosen with the straight-through estimator, so
that sequences of actions share one if they lead to the same place.
"""

import jax
import jax.numpy as jnp

from muzero_jax.losses.common import acted, cross_entropy, no_parameters
from muzero_jax.networks.jump import chosen, flat, jump_model
from muzero_jax.types import Array, Context, Model, Params, Term


def jump(model: Model, discount: float) -> Term:
  """Makes the loss term. The unroll must have at least the j steps of a jump; of a longer one, all
  k // j jumps after each other are learned.

  The loss of a jump is the sum of six parts: the distance between the hidden state that it reaches
  and that of the unroll (`distance`); the cross-entropies of the value there, of the discounted sum
  of the rewards on the way, of the macro action under its prior, and of the first action taken
  under the policy that pursues the hidden state really reached (Ghosh et al. 2021, "Learning to
  Reach Goals via Iterated Supervised Learning", eq. 2); and how far the batch is from using all
  macro actions equally (`imbalance`). Hidden states of the unroll are targets without gradient.

  Args:
    model: with a part that jumps.
    discount: per agent step.
  """
  jumps = jump_model(model)
  steps = jumps.steps

  def loss(params: Params, context: Context) -> Array:
    own, example, targets = params["model"], context.example, context.targets
    starts = acted(context)
    hidden, total = context.hidden[:, 0], jnp.zeros(context.hidden.shape[0])
    for begin in range(0, targets.reward.shape[1] - steps + 1, steps):
      end = begin + steps
      actions = example.action[:, begin:end]
      logits = jumps.code(own, actions)
      macro = chosen(logits)
      reached = jax.lax.stop_gradient(context.hidden[:, end])
      prior, pursuit = jumps.prior(own, hidden), jumps.reach(own, hidden, reached)
      hidden, reward_logits = jumps.step(own, hidden, macro)
      rewards = discounted(targets.reward[:, begin:end], discount)
      value_logits = model.predict(own, hidden)[1]
      parts = (
        distance(hidden, reached)
        + cross_entropy(model.encode_scalar(targets.value[:, end]), value_logits)
        + cross_entropy(model.encode_scalar(rewards), reward_logits)
        + cross_entropy(jax.lax.stop_gradient(macro), prior)
        + cross_entropy(jax.nn.one_hot(actions[:, 0], pursuit.shape[-1]), pursuit)
        + imbalance(logits)
      )
      total += parts * starts[:, begin] * targets.target_mask[:, end]
    return total

  return Term(no_parameters, loss)


def discounted(reward: Array, discount: float) -> Array:
  """The sum of discount^i reward[:, i], f32[N]."""
  return reward @ discount ** jnp.arange(reward.shape[1])


def distance(hidden: Array, target: Array) -> Array:
  """Squared distances of hidden states [N, ...], divided by the variance of the targets over the
  batch, f32[N]: 1 for their mean, 0 for equal ones.
  """
  target = flat(target)
  variance = jnp.square(target - target.mean(0, keepdims=True)).sum(-1).mean()
  return jnp.square(flat(hidden) - target).sum(-1) / jnp.maximum(variance, 1e-3)


def imbalance(logits: Array) -> Array:
  """log(macros) minus the entropy of their mean probabilities over the batch, f32[], in nats: 0 if
  the batch uses all equally.
  """
  mean = jax.nn.softmax(logits).mean(0)
  entropy = -jnp.sum(mean * jnp.log(jnp.maximum(mean, 1e-9)))
  return jnp.log(mean.shape[0]) - entropy
