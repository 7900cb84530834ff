"""mctx's tree search, implemented without data-dependent loops.

mctx descends to a leaf and backs up from it in loops whose length is the deepest path in the batch.
On an accelerator each iteration costs dozens of small kernels and a synchronization with the host.
Here a simulation is a fixed sequence of operations on whole trees. All nodes choose an action at
once; pointer doubling follows these choices down from the root; and because each node stores the
discounted rewards between itself and each of its ancestors (`Paths`), the backup is one expression.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import mctx

from muzero_jax.types import Array, Key, Params, record

UNVISITED = mctx.Tree.UNVISITED


@record
class Paths:
  """For each pair of nodes: whether one is an ancestor of the other, and the rewards between them.

  Entry [b, n, m] is about node n and its ancestor m; a node is an ancestor of itself. N is the
  number of nodes, which are numbered as in mctx.
  """

  above: Array  # bool[B, N, N]   whether m is an ancestor of n
  gain: Array  # f32[B, N, N]   sum of discounted rewards on the path from m to n
  decay: Array  # f32[B, N, N]   product of the discounts on that path


def search(
  params: Params,
  rng_key: Key,
  *,
  root: mctx.RootFnOutput,
  recurrent_fn: mctx.RecurrentFn,
  root_action_selection_fn: mctx.RootActionSelectionFn,
  interior_action_selection_fn: mctx.InteriorActionSelectionFn,
  num_simulations: int,
  max_depth: int | None = None,
  extra_data: Any = None,
) -> mctx.Tree:
  """Runs a tree search; same arguments and result as `mctx.search`, node for node.

  Differences: ties are broken with another random key, the same for all nodes of a tree; and
  invalid actions are not supported.
  """
  size = root.value.shape[0]
  bound = num_simulations if max_depth is None else min(max_depth, num_simulations)

  def simulate(i: Array, state: tuple[mctx.Tree, Paths]) -> tuple[mctx.Tree, Paths]:
    tree, paths = state
    key, expand_key = jax.random.split(jax.random.fold_in(rng_key, i))
    actions = _choose(
      jax.random.split(key, size), tree, root_action_selection_fn, interior_action_selection_fn
    )
    parent = _descend(tree, paths, actions, bound)
    action = _at(actions, parent)
    embedding = jax.tree.map(lambda x: x[parent, jnp.arange(size)], tree.embeddings)
    output, embedding = recurrent_fn(params, expand_key, action, embedding)
    return _grow(tree, paths, parent, action, i + 1, output, embedding)

  tree, _ = jax.lax.fori_loop(
    0, num_simulations, simulate, _plant(root, num_simulations + 1, extra_data)
  )
  return tree.replace(embeddings=jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), tree.embeddings))


def _plant(root: mctx.RootFnOutput, num_nodes: int, extra_data: Any) -> tuple[mctx.Tree, Paths]:
  """A tree with a root, and room for the other nodes.

  During the search embeddings are [N, B, ...], so that those of a new node are contiguous.
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
    root_invalid_actions=jnp.zeros((size, num_actions)),
    extra_data=extra_data,
  )
  none = jnp.zeros((size, num_nodes, num_nodes))
  origin = none.at[:, 0, 0].set(1)
  return tree, Paths(above=origin > 0, gain=none, decay=origin)


def _choose(
  keys: Key,
  tree: mctx.Tree,
  at_root: mctx.RootActionSelectionFn,
  inside: mctx.InteriorActionSelectionFn,
) -> Array:
  """The action that each node would choose now, i32[B, N]."""
  tree, nodes = tree.replace(embeddings=None), jnp.arange(tree.node_visits.shape[1])
  everywhere = jax.vmap(jax.vmap(inside, (None, None, 0, None)), (0, 0, None, None))(
    keys, tree, nodes, 1
  )
  first = jax.vmap(at_root, (0, 0, None))(keys, tree, 0)
  return everywhere.at[:, 0].set(first)


def _descend(tree: mctx.Tree, paths: Paths, actions: Array, bound: int) -> Array:
  """Follows the chosen actions from the root, to the node that is to be expanded, i32[B].

  That is the node whose chosen edge has no child yet, or leads to depth `bound`.
  """
  child = _edge(tree.children_index, actions)
  stop = (child == UNVISITED) | (paths.above.sum(-1) >= bound)  # a node's depth is one less
  follow = jnp.where(stop, jnp.arange(actions.shape[1])[None], child)
  for _ in range(math.ceil(math.log2(bound))):  # pointer doubling: 1, 2, 4, ... steps at once
    follow = jnp.take_along_axis(follow, follow, 1)
  return follow[:, 0]


def _grow(
  tree: mctx.Tree,
  paths: Paths,
  parent: Array,
  action: Array,
  slot: Array,
  output: mctx.RecurrentFnOutput,
  embedding: Any,
) -> tuple[mctx.Tree, Paths]:
  """Adds node `slot` at the edges (parent, action) i32[B], and backs its values up.

  Where `max_depth` stopped the descent at an edge that has a child already, that child is updated
  instead, and `slot` remains without a parent.
  """
  num_nodes, num_actions = tree.children_index.shape[1:]
  nodes = jnp.arange(num_nodes)[None]
  old = _at(
    _edge(tree.children_index, jnp.broadcast_to(action[:, None], tree.node_visits.shape)), parent
  )
  leaf = jnp.where(old == UNVISITED, slot, old)
  new_edge = (nodes == parent[:, None])[..., None] & (
    jnp.arange(num_actions)[None, None] == action[:, None, None]
  )  # [B, N, A]
  is_leaf = nodes == leaf[:, None]  # [B, N]

  def on_edge(new, x):
    return jnp.where(new_edge, new[:, None, None], x)

  def on_leaf(new, x):
    return jnp.where(is_leaf, new[:, None], x)

  index = on_edge(leaf, tree.children_index)
  above, gain, decay = (
    jnp.take_along_axis(x, parent[:, None, None], 1)[:, 0]
    for x in (paths.above, paths.gain, paths.decay)
  )
  above = above | is_leaf
  gain = jnp.where(is_leaf, 0.0, gain + decay * output.reward[:, None])
  decay = jnp.where(is_leaf, 1.0, decay * output.discount[:, None])

  visits = tree.node_visits + above
  returns = gain + decay * output.value[:, None]
  values = jnp.where(
    above, tree.node_values + (returns - tree.node_values) / visits, tree.node_values
  )
  passed = (index != UNVISITED) & _at_all(above, index)  # edges on the path, [B, N, A]
  tree = tree.replace(
    node_visits=visits,
    node_values=values,
    raw_values=on_leaf(output.value, tree.raw_values),
    parents=on_leaf(parent, tree.parents),
    action_from_parent=on_leaf(action, tree.action_from_parent),
    children_index=index,
    children_prior_logits=jnp.where(
      is_leaf[..., None], output.prior_logits[:, None], tree.children_prior_logits
    ),
    children_visits=tree.children_visits + passed,
    children_rewards=on_edge(output.reward, tree.children_rewards),
    children_discounts=on_edge(output.discount, tree.children_discounts),
    children_values=jnp.where(passed, _at_all(values, index), tree.children_values),
    embeddings=jax.tree.map(lambda x, new: x.at[slot].set(new), tree.embeddings, embedding),
  )
  paths = Paths(
    *(
      x.at[:, slot].set(new)
      for x, new in zip((paths.above, paths.gain, paths.decay), (above, gain, decay), strict=True)
    )
  )
  return tree, paths


def _at(x: Array, node: Array) -> Array:
  """x[b, node[b]], [B]."""
  return jnp.take_along_axis(x, node[:, None], 1)[:, 0]


def _at_all(x: Array, index: Array) -> Array:
  """x[b, index[b, n, a]], [B, N, A]; undefined where the index is negative."""
  size = index.shape[0]
  return jnp.take_along_axis(x, jnp.maximum(index, 0).reshape(size, -1), 1).reshape(index.shape)


def _edge(x: Array, action: Array) -> Array:
  """x[b, n, action[b, n]], [B, N]."""
  return jnp.take_along_axis(x, action[..., None], 2)[..., 0]
