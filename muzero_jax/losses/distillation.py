"""A loss that makes the unroll's predictions agree with those from the frames that followed.

The targets of MuZero's value loss are returns, whose noise hides what a single action changes: in
Pong one step of the paddle moves the value by hundredths, while returns differ from it by tenths.
The network's own predictions, computed from the stack of frames that was really reached, have no
such noise. They depend on what matters for acting, the paddle's position relative to the ball, so
dynamics that reproduce them have to carry the actions. Only the encoder and the heads at the root
are trained to predict returns. The values alone are used in this way by value equivalence
(Grimm et al. 2020).
"""

import jax
import jax.numpy as jnp

from muzero_jax.losses.common import cross_entropy, no_parameters, reached
from muzero_jax.types import Array, Context, Model, Params, Term


def distillation(model: Model, stack: int) -> Term:
  """Makes the loss term. Its examples must hold k later frames (E >= k).

  The loss of an example is the mean over the k later steps of KL(reached || unrolled), in nats, of
  the policy and of the categorical value. Steps that are absorbing states do not count.

  Args:
    model: its encoder and heads, without gradient, compute the targets.
    stack: S.
  """

  def loss(params: Params, context: Context) -> Array:
    later = reached(model, params, context, stack)
    frozen = jax.lax.stop_gradient(params["model"])
    targets = jax.lax.stop_gradient(model.predict(frozen, later))
    unrolled = (context.policy_logits[:, 1:], context.value_logits[:, 1:])
    divergence = sum(
      kl_divergence(target.reshape(logits.shape), logits)
      for target, logits in zip(targets, unrolled, strict=True)
    )
    return jnp.mean(divergence * context.targets.policy_mask[:, 1:], -1)

  return Term(no_parameters, loss)


def kl_divergence(target_logits: Array, logits: Array) -> Array:
  """KL(softmax(target_logits) || softmax(logits)) over the last axis, in nats."""
  target = jax.nn.softmax(target_logits)
  return cross_entropy(target, logits) - cross_entropy(target, target_logits)
