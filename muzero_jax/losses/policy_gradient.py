"""An off-policy policy gradient on the actions taken, with PPO's clipping (Schulman et al. 2017,
eq. 7), to be used in addition to the policy loss.

The policy loss follows the model's Q, whose errors are systematic: they are the same each time a
state is visited. The returns that followed an action are noisy, but right on average. Muesli
(Hessel et al. 2021, eq. 11) combines the two in the same way.
"""

import jax
import jax.numpy as jnp

from muzero_jax.losses.common import acted, no_parameters, weighted_sum
from muzero_jax.types import Array, Context, Model, Params, Term

# Upper bound on the ratio of the policy to the behavior policy. PPO's clipping does not bound the
# loss where the advantage is negative and the ratio large, so the gradient would be unbounded
# (Ye et al. 2020, "dual-clip PPO", which also uses 3).
LARGEST_RATIO = 3.0


def policy_gradient(model: Model, clip: float = 0.2, steps: str = "root") -> Term:
  """Makes the loss term.

  It needs the exact `log_prob` of the behavior policy, which sequential halving does not give.

  Args:
    model: decodes the predicted values, the baseline of the advantages.
    clip: epsilon of PPO: the ratio to the behavior policy is clipped to 1 - clip .. 1 + clip.
    steps: a kind of `common.step_weights`.
  """

  def loss(params: Params, context: Context) -> Array:
    del params
    targets, example = context.targets, context.example
    count = targets.value.shape[1]
    log_policy = jax.nn.log_softmax(context.policy_logits)
    chosen = jnp.take_along_axis(log_policy, example.action[:, :count, None], -1)[..., 0]
    ratio = jnp.exp(jnp.minimum(chosen - example.log_prob[:, :count], jnp.log(LARGEST_RATIO)))
    advantage = jax.lax.stop_gradient(targets.value - model.decode(context.value_logits))
    mask = acted(context)
    advantage = normalize(advantage, mask)
    gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)
    return -weighted_sum(gain, mask, steps)

  return Term(no_parameters, loss)


def normalize(x: Array, mask: Array, epsilon: float = 1e-3) -> Array:
  """Divides x, f32[N, T], by its standard deviation where the mask is 1; the mean remains."""
  count = jnp.maximum(mask.sum(), 1.0)
  mean = jnp.sum(x * mask) / count
  return x / (jnp.sqrt(jnp.sum(jnp.square(x - mean) * mask) / count) + epsilon)
