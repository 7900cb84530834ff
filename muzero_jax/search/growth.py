"""The growth of search trees by simulations that are a fixed sequence of operations."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import mctx

from muzero_jax.search.backup import UNVISITED, Paths, State, entries, grow
from muzero_jax.types import Array, Key, Params

NOWHERE = 2**30  # the number of a new node in a simulation that does not take place


def new_tree(
  root: mctx.RootFnOutput, num_nodes: int, invalid_actions: Array | None, extra_data: Any
) -> State:
  """A tree with a root, and room for the other nodes.

  During the search embeddings are [N, B, ...], so that those of new nodes are contiguous.
  """
  size, num_actions = root.prior_logits.shape
  nodes, edges = jnp.zeros((size, num_nodes)), jnp.zeros((size, num_nodes, num_actions))
  values = nodes.at[:, 0].set(root.value)
  tree = mctx.Tree(
    node_visits=nodes.astype(jnp.int32).at[:, 0].set(1),
    raw_values=values,
    node_values=values,
    parents=jnp.full(nodes.shape, mctx.Tree.NO_PARENT, jnp.int32),
    action_from_parent=jnp.full(nodes.shape, mctx.Tree.NO_PARENT, jnp.int32),
    children_index=jnp.full(edges.shape, UNVISITED, jnp.int32),
    children_prior_logits=edges.at[:, 0].set(root.prior_logits),
    children_visits=edges.astype(jnp.int32),
    children_rewards=edges,
    children_discounts=edges,
    children_values=edges,
    embeddings=jax.tree.map(
      lambda x: jnp.zeros((num_nodes, *x.shape), x.dtype).at[0].set(x), root.embedding
    ),
    root_invalid_actions=jnp.zeros((size, num_actions))
    if invalid_actions is None
    else jnp.asarray(invalid_actions),
    extra_data=extra_data,
  )
  none = jnp.zeros((size, num_nodes, num_nodes))
  origin = none.at[:, 0, 0].set(1)
  return tree, Paths(above=origin > 0, gain=none, decay=origin)


def finished(state: State) -> mctx.Tree:
  """The finished tree as mctx has it."""
  tree, _ = state
  return tree.replace(embeddings=jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), tree.embeddings))


def resized(state: State, room: State) -> State:
  """Copies the tree into one with as many nodes as `room`; nodes that do not fit are dropped."""

  def move(x, y):
    return jax.lax.dynamic_update_slice(x, y[tuple(map(slice, x.shape))], [0] * x.ndim)

  return jax.tree.map(move, room, state)


@dataclasses.dataclass(frozen=True)
class Grower:
  """W simulations of a tree search at once. They start with different actions at the root, so that
  their paths are disjoint below it.

  The actions chosen in them are those of one simulation after the other, unless they depend on
  other branches of the tree (`rounds.search`).
  """

  params: Params
  recurrent_fn: mctx.RecurrentFn
  inside: mctx.InteriorActionSelectionFn
  bound: int  # largest depth of a node, in steps from the root

  def __call__(
    self,
    keys: Key,
    expand_key: Key,
    state: State,
    first: Array,
    slot: Array,
  ) -> State:
    """Simulates.

    Args:
      keys: [B], for choosing actions.
      expand_key: for `recurrent_fn`.
      state: the tree so far.
      first: i32[B, W], the actions at the root, different for each tree.
      slot: i32[], the number of the first new node; or, where trees differ, i32[B, W], those of
        all new nodes, and NOWHERE for a simulation that does not take place.
    """
    tree, paths = state
    older = jnp.arange(tree.node_visits.shape[1] - first.shape[1])  # the last W cannot exist yet
    actions = _choose(keys, tree, older, self.inside)
    parent, action = _descend(tree, paths, first, actions, self.bound)
    output, embedding = self._expand(expand_key, tree, parent, action)
    return grow(tree, paths, parent, action, slot, output, embedding)

  def _expand(
    self, key: Key, tree: mctx.Tree, parent: Array, action: Array
  ) -> tuple[mctx.RecurrentFnOutput, Any]:
    """One call of `recurrent_fn` for all edges (parent, action) i32[B, W].

    Returns:
      Its output [B, W, ...], and embeddings [W, B, ...].
    """
    size, width = parent.shape
    start = jax.tree.map(
      lambda x: x[parent.T.reshape(-1), jnp.tile(jnp.arange(size), width)], tree.embeddings
    )
    output, embedding = self.recurrent_fn(self.params, key, action.T.reshape(-1), start)
    unfold = functools.partial(jax.tree.map, lambda x: x.reshape(width, size, *x.shape[1:]))
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), unfold(output)), unfold(embedding)


def _choose(
  keys: Key, tree: mctx.Tree, nodes: Array, inside: mctx.InteriorActionSelectionFn
) -> Array:
  """The actions that these nodes, i32[n], would choose now, i32[B, n]; the root's is undefined."""
  tree = tree.replace(embeddings=None)
  return jax.vmap(jax.vmap(inside, (None, None, 0, None)), (0, 0, None, None))(keys, tree, nodes, 1)


def _descend(
  tree: mctx.Tree, paths: Paths, first: Array, actions: Array, bound: int
) -> tuple[Array, Array]:
  """Follows actions from the root: `first` i32[B, W] there, and `actions` i32[B, n] at the first n
  nodes.

  Returns:
    The edges that are to be expanded, as node and action, i32[B, W] each: those that have no child
    yet, or lead to depth `bound`.
  """
  nodes = jnp.arange(actions.shape[1])
  child = jnp.take_along_axis(tree.children_index[:, nodes], actions[..., None], 2)[..., 0]
  stop = (child == UNVISITED) | (paths.above[:, nodes].sum(-1) >= bound)  # its depth is one less
  follow = jnp.where(stop, nodes[None], child)
  for _ in range(math.ceil(math.log2(max(bound - 2, 1)))):  # pointer doubling: 1, 2, 4, ... steps
    follow = entries(follow, follow)
  start = entries(tree.children_index[:, 0], first)
  below = entries(follow, jnp.maximum(start, 0))
  parent = jnp.where((start == UNVISITED) | (bound == 1), 0, below)
  return parent, jnp.where(parent == 0, first, entries(actions, parent))
