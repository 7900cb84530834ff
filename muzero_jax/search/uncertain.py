"""Two uses of a predicted uncertainty in self-play: as a bonus for exploration, and to spend
simulations where the model is not sure.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from muzero_jax.networks.model import initial_inference
from muzero_jax.networks.uncertainty import uncertainty
from muzero_jax.replay.frames import Replay, Ring
from muzero_jax.replay.stacks import stacks
from muzero_jax.search.base import Search, log_prob
from muzero_jax.targets.returns import Returns
from muzero_jax.targets.unroll import reward_and_value
from muzero_jax.types import Array, Decision, Key, Metrics, Model, Params, Root


def optimistic(model: Model, bonus: float) -> Model:
  """The model with V + bonus * U in place of its value V, where U is its uncertainty."""

  def predict(params: Params, hidden: Array) -> tuple[Array, Array]:
    policy_logits, value_logits = model.predict(params, hidden)
    value = model.decode(value_logits) + bonus * uncertainty(model, params, hidden)
    return policy_logits, jnp.log(model.encode_scalar(value))

  return model._replace(predict=predict)


@dataclasses.dataclass(frozen=True)
class Optimistic:
  """Self-play with a search whose values have a bonus for uncertainty; all else without one.

  The policy that is recorded is the optimistic one. The value that is recorded has no bonus: the
  network's own.
  """

  search: Search  # made with `optimistic`
  plain: Search  # the same search made with the model as it is
  model: Model
  bonus: float

  @property
  def simulations(self) -> int:
    return self.search.simulations

  def for_evaluation(self) -> Search:
    return self.plain.for_evaluation()

  def for_reanalysis(self) -> Search:
    return self.plain.for_reanalysis()

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """See `base.Search`."""
    value = root.value + self.bonus * uncertainty(self.model, params, root.hidden)
    decision = self.search(params, key, dataclasses.replace(root, value=value))
    return dataclasses.replace(decision, value=root.value)


@dataclasses.dataclass(frozen=True)
class Focused:
  """Searches the half of the roots whose values are least certain, with `search`; at the others the
  network's policy acts. Evaluation and reanalysis search all roots, with `plain`.

  With twice as many simulations in `search` as in `plain`, the total is the same. Roots compete
  within the batch, so that their decisions depend on each other. What is recorded where nothing was
  searched is the network's own policy and value.
  """

  search: Search
  plain: Search
  model: Model

  @property
  def simulations(self) -> int:
    """Per root, on average."""
    return self.search.simulations // 2

  def for_evaluation(self) -> Search:
    return self.plain.for_evaluation()

  def for_reanalysis(self) -> Search:
    return self.plain.for_reanalysis()

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """See `base.Search`."""
    search_key, action_key = jax.random.split(key)
    size = root.value.shape[0]
    order = jnp.argsort(-uncertainty(self.model, params, root.hidden))
    unsure, sure = order[: (size + 1) // 2], order[(size + 1) // 2 :]
    searched = self.search(params, search_key, jax.tree.map(lambda x: x[unsure], root))
    reflex = by_policy(action_key, jax.tree.map(lambda x: x[sure], root))
    return jax.tree.map(
      lambda a, b: jnp.zeros((size, *a.shape[1:]), a.dtype).at[unsure].set(a).at[sure].set(b),
      searched,
      reflex,
    )


def by_policy(key: Key, root: Root) -> Decision:
  """A sample from the network's policy, without a search."""
  policy = jax.nn.softmax(root.policy_logits)
  action = jax.random.categorical(key, root.policy_logits).astype(jnp.int32)
  zeros = jnp.zeros_like(root.value)
  return Decision(action, policy, root.value, log_prob(policy, action), zeros, zeros)


@dataclasses.dataclass(frozen=True)
class Calibrated:
  """Metrics that compare predicted uncertainty with the errors that follow. A `Monitor`.

  A step enters once the n steps after it are in the replay; value and uncertainty are those of the
  current network. With e the return less the value and U the uncertainty:

  `search/uncertainty_squared`: the mean of U^2.
  `search/uncertainty_error`: the mean of e^2, which should be the same.
  `search/uncertainty_slope`: the regression slope of e^2 on U^2 through the origin: 1 if errors
    are as large as predicted, less if large uncertainties are exaggerated.
  """

  model: Model
  ring: Ring
  returns: Returns

  def __call__(self, params: Params, root: Root, decision: Decision, replay: Replay) -> Metrics:
    """See `diagnostics.Monitor`."""
    del root, decision
    example, complete = self.ring.completed(replay)
    make = functools.partial(reward_and_value, unroll=self.ring.unroll, returns=self.returns)
    target = jax.vmap(make)(example, example.value)[1]
    frames = stacks(example, jnp.zeros(1, jnp.int32), self.ring.stack)
    found = initial_inference(self.model, params, frames)
    squared = jnp.square(uncertainty(self.model, params, found.hidden))
    error = jnp.square(target[:, 0] - found.value)
    counts = (complete & ~example.last[:, 0]).astype(jnp.float32)
    products = jnp.sum(counts * squared * error), jnp.sum(counts * jnp.square(squared))
    return {
      "search/uncertainty_squared": jnp.stack([jnp.sum(counts * squared), counts.sum()]),
      "search/uncertainty_error": jnp.stack([jnp.sum(counts * error), counts.sum()]),
      "search/uncertainty_slope": jnp.stack(products),
    }
