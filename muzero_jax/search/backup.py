"""Adds nodes to search trees, and backs their values up to all of their ancestors at once."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import mctx

from muzero_jax.types import Array, record

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


State = tuple[mctx.Tree, Paths]


def grow(
  tree: mctx.Tree,
  paths: Paths,
  parent: Array,
  action: Array,
  slot: Array,
  output: mctx.RecurrentFnOutput,
  embedding: Any,
) -> State:
  """Adds nodes at the edges (parent, action), i32[B, W] each, and backs their values up.

  Where `max_depth` stopped the descent at an edge that has a child already, that child is updated
  instead, and the new node remains without a parent.

  Args:
    tree: the trees so far.
    paths: of these trees.
    parent: i32[B, W], the nodes that get a child.
    action: i32[B, W], the actions that lead to it.
    slot: the numbers of the new nodes, as in `growth.Grower`.
    output: of the model for these edges, [B, W, ...].
    embedding: of the new nodes, [W, B, ...].
  """
  size, num_nodes, num_actions = tree.children_index.shape
  nodes, actions = jnp.arange(num_nodes)[None, None], jnp.arange(num_actions)[None, None, None]
  old = entries(tree.children_index.reshape(size, -1), parent * num_actions + action)
  new = slot if slot.ndim else jnp.broadcast_to(slot + jnp.arange(parent.shape[1]), parent.shape)
  leaf = jnp.where(old == UNVISITED, new, old)
  real = (new < num_nodes)[..., None]  # false for a simulation that does not take place
  is_leaf = (nodes == leaf[..., None]) & real  # [B, W, N]
  is_parent = (nodes == parent[..., None]) & real  # [B, W, N]
  is_edge = is_parent[..., None] & (actions == action[..., None, None])  # [B, W, N, A]

  tree = tree.replace(
    raw_values=_put(tree.raw_values, is_leaf, output.value[..., None]),
    parents=_put(tree.parents, is_leaf, parent[..., None]),
    action_from_parent=_put(tree.action_from_parent, is_leaf, action[..., None]),
    children_index=_put(tree.children_index, is_edge, leaf[..., None, None]),
    children_prior_logits=_put(
      tree.children_prior_logits, is_leaf[..., None], output.prior_logits[:, :, None]
    ),
    children_rewards=_put(tree.children_rewards, is_edge, output.reward[..., None, None]),
    children_discounts=_put(tree.children_discounts, is_edge, output.discount[..., None, None]),
    embeddings=jax.tree.map(
      functools.partial(_store, slot=slot, axis=0), tree.embeddings, embedding
    ),
  )
  added = _extended(paths, parent, is_leaf, real, output)
  paths = jax.tree.map(functools.partial(_store, slot=slot, axis=1), paths, added)
  return _backed_up(tree, added, output.value), paths


def _extended(
  paths: Paths, parent: Array, is_leaf: Array, real: Array, output: mctx.RecurrentFnOutput
) -> Paths:
  """The entries of `Paths` for W new leaves, [B, W, N]: their parents' paths, longer by an edge."""
  above, gain, decay = (
    jnp.take_along_axis(x, parent[..., None], 1) for x in (paths.above, paths.gain, paths.decay)
  )
  return Paths(
    above=(above & real) | is_leaf,
    gain=jnp.where(is_leaf, 0.0, gain + decay * output.reward[..., None]),
    decay=jnp.where(is_leaf, 1.0, decay * output.discount[..., None]),
  )


def _backed_up(tree: mctx.Tree, added: Paths, value: Array) -> mctx.Tree:
  """Counts a visit of, and averages the value f32[B, W] of W leaves into, all nodes above them."""
  more = added.above.sum(1)  # visits of each node, [B, N]
  visits = tree.node_visits + more
  errors = added.gain + added.decay * value[..., None] - tree.node_values[:, None]
  values = tree.node_values + jnp.where(added.above, errors, 0.0).sum(1) / jnp.maximum(visits, 1)
  index = tree.children_index
  passed = jnp.where(index == UNVISITED, 0, _children(more, index))  # visits of edges, [B, N, A]
  return tree.replace(
    node_visits=visits,
    node_values=values,
    children_visits=tree.children_visits + passed,
    children_values=jnp.where(passed > 0, _children(values, index), tree.children_values),
  )


def _store(x: Array, new: Array, *, slot: Array, axis: int) -> Array:
  """Writes W new nodes into x, whose axis `axis` is that of nodes; the other is the batch."""
  if not slot.ndim:
    return jax.lax.dynamic_update_slice_in_dim(x, new, slot, axis)
  trees = jnp.arange(slot.shape[0])
  return x.at[(trees[:, None], slot) if axis else (slot.T, trees[None])].set(new, mode="drop")


def _put(x: Array, where: Array, new: Array) -> Array:
  """x [B, ...], with new[b, w] in the places `where` [B, W, ...] says; at most one for each w."""
  return jnp.where(where.any(1), jnp.where(where, new, 0).sum(1, dtype=x.dtype), x)


def entries(x: Array, index: Array) -> Array:
  """x[b, index[b, i]], [B, I]."""
  return jnp.take_along_axis(x, index, 1)


def _children(x: Array, index: Array) -> Array:
  """x[b, index[b, n, a]], [B, N, A]; undefined where the index is negative."""
  size = index.shape[0]
  return jnp.take_along_axis(x, jnp.maximum(index, 0).reshape(size, -1), 1).reshape(index.shape)
