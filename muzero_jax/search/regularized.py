"""The policy that PUCT's visits approach, computed exactly from few of them (Grill et al. 2020,
"Monte-Carlo Tree Search as Regularized Policy Optimization").

PUCT visits actions so that the distribution of visits tracks the maximizer of

  q . y - lambda KL(prior || y)   over policies y (eq. 7),

with an error of about the number of actions divided by the number of simulations (proposition 2).
The maximizer is y = lambda prior / (alpha - q), where alpha makes it sum to 1 (proposition 4).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import mctx

from muzero_jax.search.bisection import bisect
from muzero_jax.types import Array, Key

QTransform = Callable[[mctx.Tree, Array], Array]  # of `qtransforms.PUCT`
HALVINGS = 32  # of the interval in which alpha lies; float32 has 24 bits
# Which of the paper's variants each kind of `--search.improvement` has: the policy target (LEARN),
# the action (ACT), and every choice of an action in the tree (SEARCH).
VARIANTS = {
  "visits": (False, False, False),
  "learn": (True, False, False),
  "act": (False, True, False),
  "both": (True, True, False),
  "all": (True, True, True),
}


def regularized(prior: Array, q: Array, weight: Array) -> Array:
  """The policy y that maximizes q . y - weight KL(prior || y), f32[A].

  Args:
    prior: f32[A], probabilities; actions of probability 0 get none.
    q: f32[A].
    weight: f32[], lambda, in the units of q; above 0.
  """
  gap = jnp.where(prior > 0, q, -jnp.inf)
  gap = jnp.where(prior > 0, jnp.max(gap) - q, 0.0)  # to the best action
  share = weight * prior

  def above(excess: Array) -> Array:
    return jnp.sum(share / (excess + gap)) > 1

  # Bounds on alpha - max q: no probability exceeds 1, and they do not sum to less.
  low, high = jnp.max(jnp.where(prior > 0, share - gap, -jnp.inf)), jnp.asarray(weight, q.dtype)
  excess = bisect(above, low, high, HALVINGS)
  policy = share / (excess + gap)
  return policy / policy.sum()


def weight(tree: mctx.Tree, node: Array, *, pb_c_init: float, pb_c_base: float) -> Array:
  """lambda of a node of an unbatched tree, f32[] (eq. 6): the weight of exploration in PUCT.

  As in mctx's PUCT, the visits under the square root count the node's own.
  """
  visits = tree.node_visits[node]
  exploration = pb_c_init + jnp.log((visits + pb_c_base + 1) / pb_c_base)
  return exploration * jnp.sqrt(visits) / (tree.num_actions + visits - 1)


def root_policy(
  tree: mctx.Tree,
  prior_logits: Array,
  *,
  qtransform: QTransform,
  pb_c_init: float,
  pb_c_base: float,
) -> Array:
  """The regularized policy at the roots of a batched tree, f32[B, A].

  Args:
    tree: after the last simulation.
    prior_logits: f32[B, A]; without the noise that the tree's own may have, it is the policy target
      (the variant LEARN), and with it, the policy to act with (ACT).
    qtransform: that of the search.
    pb_c_init: that of the search.
    pb_c_base: that of the search.
  """

  def one(tree: mctx.Tree, logits: Array) -> Array:
    root = jnp.int32(tree.ROOT_INDEX)
    factor = weight(tree, root, pb_c_init=pb_c_init, pb_c_base=pb_c_base)
    return regularized(jax.nn.softmax(logits), qtransform(tree, root), factor)

  return jax.vmap(one)(tree, prior_logits)


def sampled_action(
  key: Key,
  tree: mctx.Tree,
  node: Array,
  depth: Array,
  *,
  qtransform: QTransform,
  pb_c_init: float,
  pb_c_base: float,
) -> Array:
  """An action drawn from the regularized policy of a node, i32[]; one of mctx's action selections
  (the variant SEARCH).
  """
  del depth
  prior = jax.nn.softmax(tree.children_prior_logits[node])
  factor = weight(tree, node, pb_c_init=pb_c_init, pb_c_base=pb_c_base)
  policy = regularized(prior, qtransform(tree, node), factor)
  return jax.random.categorical(key, jnp.log(policy)).astype(jnp.int32)
