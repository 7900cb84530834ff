"""A policy gradient on what was played: off-policy, clipped (Schulman et al. 2017, "PPO", eq. 7),
next to the search's targets.

The search's targets follow the model's Q, whose errors are the same every time a state is met; the
returns that followed an action are noisy, but right on average. Muesli (Hessel et al. 2021, eq. 11)
joins both in the same way.
"""

import jax
import jax.numpy as jnp

from muzero_jax.losses.muzero import step_weights
from muzero_jax.types import Array, Context, Key, Model, Params, Term

# Where an action proved bad and the policy has come to prefer it, the clip of `policy_gradient`
# does not bound the loss: its ratio to the behavior, and with it the gradient, could be anything
# (Ye et al. 2020, "dual-clip PPO", which has 3, too).
LARGEST_RATIO = 3.0


def policy_gradient(model: Model, clip: float = 0.2, steps: str = "root") -> Term:
  """The term. It needs `log_prob` to be that of the behavior, which Gumbel's sequential halving
  does not know.

  Args:
    model: decodes the values that returns are compared with.
    clip: by how much an action's probability may differ from the behavior's before its gradient
      stops.
    steps: a kind of `muzero.step_weights`.
  """

  def init(key: Key) -> Params:
    del key
    return {}

  def loss(params: Params, context: Context) -> Array:
    del params
    targets, example = context.targets, context.example
    count = targets.value.shape[1]
    log_policy = jax.nn.log_softmax(context.policy_logits)
    chosen = jnp.take_along_axis(log_policy, example.action[:, :count, None], -1)[..., 0]
    ratio = jnp.exp(jnp.minimum(chosen - example.log_prob[:, :count], jnp.log(LARGEST_RATIO)))
    advantage = jax.lax.stop_gradient(targets.value - model.decode(context.value_logits))
    acted = (
      targets.policy_mask * ~example.last[:, :count]
    )  # what is sent at an episode's last step has no consequence
    advantage = normalize(advantage, acted)
    gain = jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip, 1 + clip) * advantage)
    return -jnp.sum(gain * acted * step_weights(count - 1, steps)[None], -1)

  return Term(init, loss)


def normalize(x: Array, mask: Array, epsilon: float = 1e-3) -> Array:
  """x f32[N, T] by its standard deviation over the batch, where the mask is 1. Its mean stays."""
  count = jnp.maximum(mask.sum(), 1.0)
  mean = jnp.sum(x * mask) / count
  return x / (jnp.sqrt(jnp.sum(jnp.square(x - mean) * mask) / count) + epsilon)
