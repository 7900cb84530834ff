"""Two values in planning: the values of the tree are a mixture of two discounts.

A value of a long horizon sees far rewards, but its targets are noisy, so that it hides what single
actions change. A value of a short horizon is exact about what comes soon, and blind to the rest
(Fedus et al. 2019, "Hyperbolic discounting and learning over multiple horizons", learn many).
"""

import dataclasses

import jax.numpy as jnp
import mctx

from muzero_jax.networks.horizon import second_value
from muzero_jax.search.base import SearchWrapper, grow
from muzero_jax.types import Array, Decision, Key, Model, Params, Root


def mixed(model: Model, share: float) -> Model:
  """The model with (1 - share) V + share W in place of its value V, where W is the second value.

  Its logits of values are those that decode to the mixture, up to rounding.
  """

  def predict(params: Params, hidden: Array) -> tuple[Array, Array]:
    policy_logits, value_logits = model.predict(params, hidden)
    value, second = model.decode(value_logits), second_value(model, params, hidden)
    return policy_logits, jnp.log(model.encode_scalar((1 - share) * value + share * second))

  return model._replace(predict=predict)


@dataclasses.dataclass(frozen=True)
class TwoHorizons(SearchWrapper):
  """A search in which the root's value is a mixture, too. All values in its tree are mixtures.

  What is recorded as the root's value, from which returns bootstrap, remains a value of the first
  discount: the network's, plus what the search adds to the mixture. With share 0 that is the value
  of the search.
  """

  model: Model  # `mixed`, with which the search is made

  def grow(self, params: Params, key: Key, root: Root) -> tuple[Decision, mctx.Tree | None]:
    """See `base.SearchWrapper`."""
    value = self.model.decode(self.model.predict(params, root.hidden)[1])
    decision, tree = grow(self.search, params, key, dataclasses.replace(root, value=value))
    return dataclasses.replace(decision, value=root.value + decision.value - value), tree
