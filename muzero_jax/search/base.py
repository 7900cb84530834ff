"""The protocol of a search, and code that searches share, such as mctx's `recurrent_fn`.

Trees hold scalars: categorical predictions are decoded before they enter one.
"""

import dataclasses
from typing import Any, Protocol, Self

import chex
import jax
import jax.numpy as jnp
import mctx

from muzero_jax.search import batched, qtransforms, rounds
from muzero_jax.types import Array, Decision, Key, Model, Params, Root, SearchFn

# The implementations of the tree search. They build the same tree, node for node, but for what
# `rounds.search` says of itself; that one is for Gumbel only.
GROWERS = {"mctx": mctx.search, "batched": batched.search, "rounds": rounds.search}


class Search(Protocol):
  """A `SearchFn` for self-play, with variants for evaluation and reanalysis.

  A search that has a tree to show also has the method `grow`, which returns it beside the decision:
  call it by the function `grow`.
  """

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """Decides in self-play: acts with exploration, and returns the policy target."""
    ...

  @property
  def simulations(self) -> int:
    """Simulations (tree expansions) per root; 0 without a tree."""
    ...

  def for_evaluation(self) -> "Search":
    """The variant that acts without exploration."""
    ...

  def for_reanalysis(self) -> "Search":
    """The variant that computes policy targets for steps from the replay."""
    ...


def grow(
  search: SearchFn, params: Params, key: Key, root: Root
) -> tuple[Decision, mctx.Tree | None]:
  """What `search(params, key, root)` returns, and the tree that it was made from; None for a search
  without trees.
  """
  method = getattr(search, "grow", None)
  return (search(params, key, root), None) if method is None else method(params, key, root)


@dataclasses.dataclass(frozen=True)
class SearchWrapper:
  """A base of searches that change what goes into another search, or what comes out of it.

  Subclasses implement `grow`, with the function of this name for the inner search. The tree is that
  of the inner search as it is: of the root, model and legal actions that this search was given.
  """

  search: Search

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """See `Search`."""
    return self.grow(params, key, root)[0]

  def grow(self, params: Params, key: Key, root: Root) -> tuple[Decision, mctx.Tree | None]:
    """The decision, and the tree of the inner search; None if that has none."""
    raise NotImplementedError

  @property
  def simulations(self) -> int:
    return self.search.simulations

  def for_evaluation(self) -> Self:
    return dataclasses.replace(self, search=self.search.for_evaluation())

  def for_reanalysis(self) -> Self:
    return dataclasses.replace(self, search=self.search.for_reanalysis())


@dataclasses.dataclass(frozen=True)
class RecurrentFn:
  """mctx's `recurrent_fn`: one step of the model, with scalars decoded.

  A node's embedding (in mctx's sense) is a pair: hidden state and depth. The discount is the same
  everywhere: the model learns that states after the end of an episode are absorbing.
  """

  model: Model
  discount: float  # per agent step

  def __call__(
    self, params: Params, key: Key, action: Array, node: Any
  ) -> tuple[mctx.RecurrentFnOutput, Any]:
    """Takes actions i32[B] at nodes (hidden [B, ...], depth f32[B])."""
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
  """Converts a root to mctx's type."""
  return mctx.RootFnOutput(
    prior_logits=root.policy_logits,
    value=root.value,
    embedding=(root.hidden, jnp.zeros_like(root.value)),
  )


def decision(tree: mctx.Tree, action: Array, policy: Array, behavior: Array) -> Decision:
  """Makes the decision after a tree search.

  Its value is that of the policy target, not the mean over visits (`qtransforms.improved_value`).

  Args:
    tree: the tree after the last simulation.
    action: i32[B], the actions taken.
    policy: f32[B, A], the policy target.
    behavior: f32[B, A], the probabilities from which the actions were drawn.
  """
  value, q = qtransforms.improved_value(tree, policy)
  return decided(action, policy, value, q, behavior, depth=tree.embeddings[1].max(1))


def decided(
  action: Array, policy: Array, value: Array, q: Array, behavior: Array, depth: Array
) -> Decision:
  """Makes a decision from the Q of every action, f32[B, A]; other arguments as in `decision`."""
  action = action.astype(jnp.int32)
  return Decision(
    action, policy, value, log_prob(behavior, action), taken(q, action) - value, depth
  )


def taken(x: Array, action: Array) -> Array:
  """x[b, action[b]], f32[B]."""
  return jnp.take_along_axis(x, action[:, None], 1)[:, 0]


def log_prob(policy: Array, action: Array) -> Array:
  """log policy[b, action[b]], f32[B]; finite even where the policy is 0."""
  return log(taken(policy, action))


def log(probabilities: Array) -> Array:
  """The logarithm, finite even where a probability is 0."""
  return jnp.log(jnp.maximum(probabilities, jnp.finfo(jnp.float32).tiny))


def every_action(
  model: Model, discount: float, params: Params, root: Root
) -> tuple[mctx.RecurrentFnOutput, Array]:
  """One step of the model for each action of each root, in one call.

  Returns:
    Its output [B * A, ...], and the next hidden states [B * A, ...].
  """
  size, num_actions = root.policy_logits.shape
  hidden = jnp.repeat(root.hidden, num_actions, 0)
  actions = jnp.tile(jnp.arange(num_actions, dtype=jnp.int32), size)
  node = hidden, jnp.zeros(actions.shape)
  output, (hidden, _) = RecurrentFn(model, discount)(params, jax.random.key(0), actions, node)
  return output, hidden
