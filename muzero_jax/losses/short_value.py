"""A value with a shorter horizon, predicted beside the value by a head of its own.

Where rewards are sparse, most steps of the unroll say nothing about the dynamics: rewards are 0,
and values change little. The discounted sum of the next few rewards changes at every step before a
reward, so that the dynamics have something local to predict. Auxiliary values with several
discounts are due to Sutton et al. 2011 ("Horde") and Fedus et al. 2019 ("Hyperbolic discounting and
learning over multiple horizons"), who find that the auxiliary task alone helps.
"""

import jax
import jax.numpy as jnp

from muzero_jax.losses.common import cross_entropy, per_state, weighted_sum
from muzero_jax.networks.heads import bins
from muzero_jax.networks.model import Logits, apply
from muzero_jax.targets.returns import Returns
from muzero_jax.targets.unroll import reward_and_value
from muzero_jax.types import Array, Context, Key, Model, Params, Term


def short_value(
  model: Model,
  hidden: jax.ShapeDtypeStruct,
  returns: Returns,
  width: int = 64,
  steps: str = "root",
) -> Term:
  """Makes the loss term: the cross-entropy of the head's distribution, as in the value loss.

  The targets are discounted sums of the `returns.n_step` next rewards, which do not bootstrap: with
  a short horizon, little comes after them.

  Args:
    model: encodes the targets as categorical distributions.
    hidden: shape of one hidden state with a batch axis.
    returns: those of the term's targets, thus with the shorter discount.
    width: of the head's hidden layer.
    steps: a kind of `common.step_weights`.
  """
  head = Logits(width, bins(model))

  def init(key: Key) -> Params:
    return {"head": head.init(key, jnp.zeros(hidden.shape))}

  def loss(params: Params, context: Context) -> Array:
    count = context.targets.value.shape[1]

    def target(example):
      nothing = jnp.zeros(example.last.shape)
      return reward_and_value(example, nothing, unroll=count - 1, returns=returns)[1]

    logits = apply(head, params["short_value"]["head"], per_state(context.hidden))
    targets = model.encode_scalar(jax.vmap(target)(context.example))
    errors = cross_entropy(targets, logits.reshape(targets.shape))
    return weighted_sum(errors, context.targets.target_mask, steps)

  return Term(init, loss)
