"""mctx's tree search, implemented without data-dependent loops.

mctx descends to a leaf and backs up from it in loops whose length is the deepest path in the batch.
On an accelerator each iteration costs dozens of small kernels and a synchronization with the host.
Here a simulation is a fixed sequence of operations on whole trees. All nodes choose an action at
once; pointer doubling follows these choices down from the root; and because each node stores the
discounted rewards between itself and each of its ancestors (`Paths`), the backup is one expression.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import mctx

from muzero_jax.types import Array, Key, Params, record

UNVISITED = mctx.Tree.UNVISITED
NOWHERE = 2**30  # number of a node that is not to be


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
  invalid_actions: Array | None = None,
  extra_data: Any = None,
) -> mctx.Tree:
  """Runs a tree search; same arguments and result as `mctx.search`, node for node.

  Only ties differ: they are broken with another random key, the same for all nodes of a tree.
  """
  size = root.value.shape[0]
  at_root = jax.vmap(root_action_selection_fn, (0, 0, None))
  bound = min(max_depth or num_simulations, num_simulations)
  grower = Grower(params, recurrent_fn, interior_action_selection_fn, bound)

  def simulate(i: Array, state: State) -> State:
    key, expand_key = jax.random.split(jax.random.fold_in(rng_key, i))
    keys = jax.random.split(key, size)
    first = at_root(keys, state[0].replace(embeddings=None), 0)
    return grower(keys, expand_key, state, first[:, None], i + 1)

  state = plant(root, num_simulations + 1, invalid_actions, extra_data)
  return harvest(jax.lax.fori_loop(0, num_simulations, simulate, state))


def plant(
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


def harvest(state: State) -> mctx.Tree:
  """The finished tree as mctx has it."""
  tree, _ = state
  return tree.replace(embeddings=jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), tree.embeddings))


def transplant(state: State, room: State) -> State:
  """The same tree with as many nodes as `room`; those that do not fit are left out."""

  def move(x, y):
    return jax.lax.dynamic_update_slice(x, y[tuple(map(slice, x.shape))], [0] * x.ndim)

  return jax.tree.map(move, room, state)


@dataclasses.dataclass(frozen=True)
class Grower:
  """Simulations of a tree search, several at a time: W of them start with different actions at the
  root, so that they meet nowhere below it.

  That they do not know of each other makes no difference to the actions chosen in them, unless
  these depend on other branches of the tree (`rounds.search`).
  """

  params: Params
  recurrent_fn: mctx.RecurrentFn
  inside: mctx.InteriorActionSelectionFn
  bound: int  # no node may be, or could be, deeper than this many steps

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
    return _grow(tree, paths, parent, action, slot, output, embedding)

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
    follow = _at(follow, follow)
  start = _at(tree.children_index[:, 0], first)
  below = _at(follow, jnp.maximum(start, 0))
  parent = jnp.where((start == UNVISITED) | (bound == 1), 0, below)
  return parent, jnp.where(parent == 0, first, _at(actions, parent))


def _grow(
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
  instead, and the new node remains without a parent. `slot` is as in `Grower.__call__`.
  """
  size, num_nodes, num_actions = tree.children_index.shape
  nodes = jnp.arange(num_nodes)[None, None]
  old = _at(tree.children_index.reshape(size, -1), parent * num_actions + action)
  new = slot if slot.ndim else jnp.broadcast_to(slot + jnp.arange(parent.shape[1]), parent.shape)
  leaf = jnp.where(old == UNVISITED, new, old)
  real = (new < num_nodes)[..., None]
  is_leaf = (nodes == leaf[..., None]) & real  # [B, W, N]
  new_edge = ((nodes == parent[..., None]) & real)[..., None] & (
    jnp.arange(num_actions)[None, None, None] == action[..., None, None]
  )  # [B, W, N, A]

  above, gain, decay = (
    jnp.take_along_axis(x, parent[..., None], 1) for x in (paths.above, paths.gain, paths.decay)
  )  # [B, W, N]
  above = (above & real) | is_leaf
  gain = jnp.where(is_leaf, 0.0, gain + decay * output.reward[..., None])
  decay = jnp.where(is_leaf, 1.0, decay * output.discount[..., None])

  index = _put(tree.children_index, new_edge, leaf[..., None, None])
  more = above.sum(1)  # visits of each node, [B, N]
  visits = tree.node_visits + more
  errors = gain + decay * output.value[..., None] - tree.node_values[:, None]
  values = tree.node_values + jnp.where(above, errors, 0.0).sum(1) / jnp.maximum(visits, 1)
  passed = jnp.where(index == UNVISITED, 0, _at_all(more, index))  # times, [B, N, A]
  tree = tree.replace(
    node_visits=visits,
    node_values=values,
    raw_values=_put(tree.raw_values, is_leaf, output.value[..., None]),
    parents=_put(tree.parents, is_leaf, parent[..., None]),
    action_from_parent=_put(tree.action_from_parent, is_leaf, action[..., None]),
    children_index=index,
    children_prior_logits=_put(
      tree.children_prior_logits, is_leaf[..., None], output.prior_logits[:, :, None]
    ),
    children_visits=tree.children_visits + passed,
    children_rewards=_put(tree.children_rewards, new_edge, output.reward[..., None, None]),
    children_discounts=_put(tree.children_discounts, new_edge, output.discount[..., None, None]),
    children_values=jnp.where(passed > 0, _at_all(values, index), tree.children_values),
    embeddings=jax.tree.map(
      functools.partial(_store, slot=slot, axis=0), tree.embeddings, embedding
    ),
  )
  paths = jax.tree.map(
    functools.partial(_store, slot=slot, axis=1), paths, Paths(above, gain, decay)
  )
  return tree, paths


def _store(x: Array, new: Array, *, slot: Array, axis: int) -> Array:
  """Writes W new nodes into x, whose axis `axis` is that of nodes; the other is the batch."""
  if not slot.ndim:
    return jax.lax.dynamic_update_slice_in_dim(x, new, slot, axis)
  trees = jnp.arange(slot.shape[0])
  return x.at[(trees[:, None], slot) if axis else (slot.T, trees[None])].set(new, mode="drop")


def _put(x: Array, where: Array, new: Array) -> Array:
  """x [B, ...], with new[b, w] in the places `where` [B, W, ...] says; at most one for each w."""
  return jnp.where(where.any(1), jnp.where(where, new, 0).sum(1, dtype=x.dtype), x)


def _at(x: Array, index: Array) -> Array:
  """x[b, index[b, i]], [B, I]."""
  return jnp.take_along_axis(x, index, 1)


def _at_all(x: Array, index: Array) -> Array:
  """x[b, index[b, n, a]], [B, N, A]; undefined where the index is negative."""
  size = index.shape[0]
  return jnp.take_along_axis(x, jnp.maximum(index, 0).reshape(size, -1), 1).reshape(index.shape)
