"""What all searches share: the model as mctx sees it, and the protocol of a search.

Searches run on plain scalars: categorical predictions are decoded before they enter a tree.
"""

import dataclasses
from typing import Any, Protocol

import chex
import jax.numpy as jnp
import mctx

from muzero_jax.search import batched, qtransforms
from muzero_jax.types import Array, Decision, Key, Model, Params, Root

# Who grows the tree: equal, node for node.
GROWERS = {"mctx": mctx.search, "batched": batched.search}


class Search(Protocol):
  """A `SearchFn` that knows its variants."""

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """Acts in self-play, with exploration; its policy is a target."""
    ...

  @property
  def simulations(self) -> int:
    """Tree expansions per root."""
    ...

  def for_evaluation(self) -> "Search":
    """The variant that acts as well as it can."""
    ...

  def for_reanalysis(self) -> "Search":
    """The variant that makes targets for steps played before."""
    ...


@dataclasses.dataclass(frozen=True)
class RecurrentFn:
  """mctx's `recurrent_fn`: one step of the model, with scalars decoded. The discount is gamma
  everywhere: ends of episodes are learned as absorbing states. A node's embedding is its hidden
  state and its depth.
  """

  model: Model
  discount: float

  def __call__(
    self, params: Params, key: Key, action: Array, node: Any
  ) -> tuple[mctx.RecurrentFnOutput, Any]:
    """For actions i32[B] at nodes of (hidden [B, ...], depth f32[B])."""
    del key
    hidden, depth = node
    hidden, reward_logits = self.model.step(params, hidden, action)
    chex.assert_trees_all_equal_shapes_and_dtypes(hidden, node[0])
    policy_logits, value_logits = self.model.predict(params, hidden)
    reward, value = self.model.decode(reward_logits), self.model.decode(value_logits)
    predicted, size = [policy_logits, reward, value], action.shape[0]
    name = "of the model's policy logits, reward and value"
    chex.assert_shape(predicted, [(size, None), (size,), (size,)], custom_message=name)
    output = mctx.RecurrentFnOutput(
      reward=reward,
      discount=jnp.full_like(value, self.discount),
      prior_logits=policy_logits,
      value=value,
    )
    return output, (hidden, depth + 1)


def mctx_root(root: Root) -> mctx.RootFnOutput:
  """The same in mctx's words."""
  return mctx.RootFnOutput(
    prior_logits=root.policy_logits,
    value=root.value,
    embedding=(root.hidden, jnp.zeros_like(root.value)),
  )


def decision(tree: mctx.Tree, action: Array, policy: Array, behavior: Array) -> Decision:
  """From a grown tree: `action` i32[B], taken with the probabilities `behavior` f32[B, A], and the
  target `policy` f32[B, A].

  The value is that of the target policy, not the mean over visits.
  """
  value, q = qtransforms.improved_value(tree, policy)
  return decided(action, policy, value, q, behavior, depth=tree.embeddings[1].max(1))


def decided(
  action: Array, policy: Array, value: Array, q: Array, behavior: Array, depth: Array
) -> Decision:
  """A decision from the Q of every action, f32[B, A]."""
  action = action.astype(jnp.int32)
  return Decision(
    action, policy, value, log_prob(behavior, action), taken(q, action) - value, depth
  )


def taken(x: Array, action: Array) -> Array:
  """x[b, action[b]], f32[B]."""
  return jnp.take_along_axis(x, action[:, None], 1)[:, 0]


def log_prob(policy: Array, action: Array) -> Array:
  """log policy[b, action[b]], f32[B]; finite also where the policy is 0."""
  return jnp.log(jnp.maximum(taken(policy, action), jnp.finfo(jnp.float32).tiny))
