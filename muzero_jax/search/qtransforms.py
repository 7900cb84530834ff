"""Q transforms: how the Q of a node's children is scaled before a search uses it.

Some are mctx's `qtransform`s, the others are written here. Unless noted, functions are for one
unbatched tree; mctx maps them over the batch. `PUCT` and `GUMBEL` list the kinds of
`--search.qtransform` for each of these searches.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import mctx

from muzero_jax.types import Array, Statistics, record

# Scaled advantages are clipped to plus or minus this (Muesli, Hessel et al. 2021, eq. 6).
CLIP = 1.0


@record
class ExtraData:
  """Additional data of a Gumbel search, per root; mctx reads `root_gumbel`."""

  root_gumbel: Array  # f32[B, A]   the Gumbel noise
  # f32[B]   the divisor of advantages; used by the kinds `advantage` and `skill`
  scale: Array


def mixed_value(tree: mctx.Tree, node: Array) -> Array:
  """A node's value estimated from its own prediction and the Q of its visited children, f32[]
  (Danihelka et al. 2022, appendix D).
  """
  visits, q = tree.children_visits[node], tree.qvalues(node)
  prior = jnp.where(
    visits > 0,
    jnp.maximum(jax.nn.softmax(tree.children_prior_logits[node]), jnp.finfo(q.dtype).tiny),
    0.0,
  )
  weighted = jnp.sum(prior * jnp.where(visits > 0, q, 0.0)) / jnp.maximum(
    prior.sum(), jnp.finfo(q.dtype).tiny
  )
  total = visits.sum()
  return (tree.raw_values[node] + total * weighted) / (total + 1)


def completed_q(tree: mctx.Tree, node: Array) -> Array:
  """Q of every action, f32[A], in units of return; `mixed_value` for unvisited actions."""
  return jnp.where(tree.children_visits[node] > 0, tree.qvalues(node), mixed_value(tree, node))


def extremes(tree: mctx.Tree) -> tuple[Array, Array]:
  """The smallest and largest Q of all visited edges, f32[] each; (inf, -inf) if there are none."""
  visited = tree.children_visits > 0
  q = tree.children_rewards + tree.children_discounts * tree.children_values
  return jnp.min(jnp.where(visited, q, jnp.inf)), jnp.max(jnp.where(visited, q, -jnp.inf))


def puct_over_tree(
  tree: mctx.Tree, node: Array, *, epsilon: float, unvisited: str = "mean"
) -> Array:
  """Q of a node's children, scaled to 0..1 by the extremes of the whole tree (Schrittwieser et al.
  2020, appendix B, eq. 5).

  mctx's default takes the extremes among siblings, so that the best sibling scores 1 everywhere in
  the tree.

  Args:
    tree: unbatched.
    node: i32[].
    epsilon: smallest range of Q, in units of return, that is rescaled to 0..1.
    unvisited: score of unvisited children. "mean": that of the mean Q of their visited siblings
      (and, except at the root, of the node's own value), as in EfficientZero. "zero": 0, as in the
      pseudocode of MuZero.

  Returns:
    Scores, f32[A].
  """
  low, high = extremes(tree)
  visited, q = tree.children_visits[node] > 0, tree.qvalues(node)
  # Before the first visit there are no extremes.
  some = high >= low
  size, low = jnp.where(some, jnp.maximum(high - low, epsilon), 1.0), jnp.where(some, low, 0.0)
  scores = jnp.where(visited, (q - low) / size, 0.0)
  if unvisited == "zero":
    return scores
  own = jnp.where((node == tree.ROOT_INDEX) & jnp.any(visited), 0.0, 1.0)
  mean = (jnp.sum(jnp.where(visited, q, 0.0)) + own * tree.raw_values[node]) / (visited.sum() + own)
  return jnp.where(visited, scores, jnp.where(some, jnp.clip((mean - low) / size, 0.0, 1.0), 0.0))


def puct_per_node(
  tree: mctx.Tree, node: Array, *, epsilon: float, unvisited: str = "mean"
) -> Array:
  """mctx's transform for PUCT: Q scaled to 0..1 by the extremes among siblings and the node's own
  value, f32[A]. Unvisited children score 0.
  """
  del unvisited
  return mctx.qtransform_by_parent_and_siblings(tree, node, epsilon=epsilon)


def sigma_per_node(
  tree: mctx.Tree, node: Array, *, value_scale: float, visit_offset: float, epsilon: float
) -> Array:
  """mctx's transform for Gumbel MuZero, f32[A]: completed Q, scaled to 0..1 by its extremes over
  the node's actions, times (c_visit + max N) c_scale.
  """
  return mctx.qtransform_completed_by_mix_value(
    tree,
    node,
    value_scale=value_scale,
    maxvisit_init=visit_offset,
    rescale_values=True,
    epsilon=epsilon,
  )


def sigma_over_tree(
  tree: mctx.Tree, node: Array, *, value_scale: float, visit_offset: float, epsilon: float
) -> Array:
  """As `sigma_per_node`, but scaled by the extremes of the whole tree, f32[A] (EfficientZero V2,
  Wang et al. 2024).
  """
  low, high = extremes(tree)
  size = jnp.where(high >= low, jnp.maximum(high - low, epsilon), 1.0)
  weight = (visit_offset + tree.children_visits[node].max()) * value_scale
  return weight * (completed_q(tree, node) - mixed_value(tree, node)) / size


def sigma_of_advantage(
  tree: mctx.Tree, node: Array, *, value_scale: float, visit_offset: float, epsilon: float
) -> Array:
  """Advantages divided by `ExtraData.scale` and clipped to -1..1, f32[A] (Muesli, Hessel et al.
  2021, eq. 6).
  """
  del value_scale, visit_offset, epsilon
  advantage = completed_q(tree, node) - mixed_value(tree, node)
  return jnp.clip(advantage / tree.extra_data.scale, -CLIP, CLIP)


PUCT: dict[str, Callable] = {"tree": puct_over_tree, "node": puct_per_node}
GUMBEL: dict[str, Callable] = {
  "node": sigma_per_node,
  "tree": sigma_over_tree,
  "advantage": sigma_of_advantage,
  "skill": sigma_of_advantage,
}


def scale(kind: str, statistics: Statistics) -> Array:
  """The divisor of advantages for the kinds `advantage` and `skill`, f32[], in units of return.

  For `advantage` it is the running standard deviation of (return - value). For `skill` it is that,
  divided by `Statistics.skill` (the fraction of a predicted advantage that later shows in returns),
  so that a search whose Q is noise hardly changes the policy.
  """
  share = jnp.clip(statistics.skill, 1e-3, 1.0) if kind == "skill" else 1.0
  return jnp.maximum(statistics.error, 1e-6) / share


def improved_value(tree: mctx.Tree, policy: Array) -> tuple[Array, Array]:
  """The value of a policy f32[B, A] at the roots of a batched tree.

  The alternative, the mean over visits (`node_values[:, 0]`), is at few simulations close to the
  value of the uniform policy.

  Returns:
    The sum over actions of policy times completed Q, f32[B]; and completed Q, f32[B, A].
  """
  q = jax.vmap(functools.partial(completed_q, node=tree.ROOT_INDEX))(tree)
  return jnp.sum(policy * q, -1), q
