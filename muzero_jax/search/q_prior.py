"""A search whose prior is softmax(Q / temperature) of the Q head, in place of the policy network's.

The Q head learns from returns of single actions, off-policy, so that it knows what actions do long
before a policy that is distilled from a search does. The search improves on it as on any prior.
"""

import dataclasses

import mctx

from muzero_jax.networks.q import q_values
from muzero_jax.search.base import SearchWrapper, grow
from muzero_jax.types import Array, Decision, Key, Model, Params, Root


def with_q_prior(model: Model, temperature: float) -> Model:
  """The model with Q / temperature of its Q head as the logits of its policy.

  Args:
    model: with a Q head.
    temperature: in units of return.
  """

  def predict(params: Params, hidden: Array) -> tuple[Array, Array]:
    _, value_logits = model.predict(params, hidden)
    return q_values(model, params, hidden) / temperature, value_logits

  return model._replace(predict=predict)


@dataclasses.dataclass(frozen=True)
class QPrior(SearchWrapper):
  """A search in which the prior of the root is that of the Q head, too."""

  model: Model  # `with_q_prior`, with which the search is made

  def grow(self, params: Params, key: Key, root: Root) -> tuple[Decision, mctx.Tree | None]:
    """See `base.SearchWrapper`."""
    logits = self.model.predict(params, root.hidden)[0]
    return grow(self.search, params, key, dataclasses.replace(root, policy_logits=logits))
