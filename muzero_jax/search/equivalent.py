"""A search of one action of each class: actions at the root that the model cannot tell apart share
their simulations. This is a special case of the equivalences of MDPs (van der Pol et al. 2020) and
of models (Grimm et al. 2020).

Atari's action sets hold many such actions: in Pong six actions have three effects, and next to a
wall some have none.
"""

import dataclasses
from typing import Self

import jax
import jax.numpy as jnp
import mctx

from muzero_jax.replay.frames import Replay
from muzero_jax.search.base import SearchWrapper, every_action, grow, taken
from muzero_jax.types import Array, Decision, Key, Metrics, Model, Params, Root


@dataclasses.dataclass(frozen=True)
class Classes:
  """Finds the classes of equivalent actions at a root. As a `Monitor`, it counts them.

  Two actions are equivalent if what one step of the model predicts for them differs by `tolerance`
  at most: the reward, the discounted value, the policy (total variation), and the hidden state
  (root mean square; hidden states are scaled to 0..1). It costs one call of the model for all
  actions of all roots.
  """

  model: Model
  discount: float  # per agent step
  tolerance: float

  def find(self, params: Params, root: Root) -> Array:
    """For each action the first one of its class, i32[B, A]."""
    return jax.vmap(representatives, (0, None))(self.distances(params, root), self.tolerance)

  def distances(self, params: Params, root: Root) -> Array:
    """How far the predictions for any two actions are apart, f32[B, A, A]: the largest of the
    differences that the class names.
    """
    size, num_actions = root.policy_logits.shape
    output, hidden = every_action(self.model, self.discount, params, root)

    def apart(x: Array) -> Array:
      x = x.astype(jnp.float32).reshape(size, num_actions, -1)
      return jnp.abs(x[:, :, None] - x[:, None])  # [B, A, A, width]

    parts = [
      apart(output.reward).sum(-1),
      apart(output.discount * output.value).sum(-1),
      apart(jax.nn.softmax(output.prior_logits)).sum(-1) / 2,
      jnp.sqrt(jnp.square(apart(self.model.core(hidden))).mean(-1)),
    ]
    return jnp.max(jnp.stack(parts), 0)

  def __call__(self, params: Params, root: Root, decision: Decision, replay: Replay) -> Metrics:
    """See `diagnostics.Monitor`: the number of classes at a root."""
    del decision, replay
    found = self.find(params, root)
    count = jnp.sum(found == jnp.arange(found.shape[1])[None], dtype=jnp.float32)
    return {"search/classes": jnp.stack([count, jnp.float32(found.shape[0])])}


def representatives(distance: Array, tolerance: float) -> Array:
  """The first action of the class of each action, i32[A].

  An action joins the first class whose first action is near enough; otherwise it begins a class. So
  no two actions of a class are more than twice the tolerance apart.

  Args:
    distance: f32[A, A], symmetric.
    tolerance: the largest distance of an action from the first one of its class.
  """
  actions = jnp.arange(distance.shape[0], dtype=jnp.int32)

  def place(action: Array, first: Array) -> Array:
    open_classes = (first == actions) & (actions < action)
    joins = open_classes & (distance[action] <= tolerance)
    return first.at[action].set(jnp.where(joins.any(), jnp.argmax(joins), action).astype(jnp.int32))

  return jax.lax.fori_loop(0, actions.shape[0], place, actions)


@dataclasses.dataclass(frozen=True)
class Equivalent(SearchWrapper):
  """Searches the first action of each class, with the prior of the whole class; the others are not
  legal at the root of the tree. Policy and action are shared within the class by the prior.
  """

  classes: Classes
  greedy: bool = False  # take the most probable action of a class, not a sample

  def for_evaluation(self) -> Self:
    return dataclasses.replace(super().for_evaluation(), greedy=True)

  def grow(self, params: Params, key: Key, root: Root) -> tuple[Decision, mctx.Tree | None]:
    """See `base.SearchWrapper`.

    At the root of the tree the first action of a class stands for the class. The others, of which
    the action taken may be one, are illegal: their prior is 0, and no edge is theirs. The decision
    is about all actions. Its depth is that of the tree, with the same number of simulations.
    """
    search_key, member_key = jax.random.split(key)
    first = self.classes.find(params, root)
    merged, log_share = merge(root, first)
    decision, tree = grow(self.search, params, search_key, merged)
    members = jnp.where(first == decision.action[:, None], log_share, -jnp.inf)
    noise = 1e-4 if self.greedy else 1.0  # in evaluation it breaks ties
    action = jnp.argmax(members + noise * jax.random.gumbel(member_key, members.shape), -1)
    shared = dataclasses.replace(
      decision,
      action=action.astype(jnp.int32),
      policy=jnp.take_along_axis(decision.policy, first, 1) * jnp.exp(log_share),
      log_prob=decision.log_prob + taken(log_share, action),
    )
    return shared, tree


def merge(root: Root, first: Array) -> tuple[Root, Array]:
  """The root whose only legal actions are the first ones of their classes.

  Args:
    root: of all actions.
    first: i32[B, A], the first action of the class of each action.

  Returns:
    The root, and the log of each action's share in the prior of its class, f32[B, A].
  """
  actions = jnp.arange(first.shape[1])
  is_in = first[:, None] == actions[None, :, None]  # [B, class, action]
  logits = jax.nn.log_softmax(root.policy_logits)
  merged_logits = jax.nn.logsumexp(jnp.where(is_in, logits[:, None], -jnp.inf), -1)
  illegal = first != actions[None]
  merged_logits = jnp.where(illegal, jnp.finfo(merged_logits.dtype).min, merged_logits)
  merged = dataclasses.replace(root, policy_logits=merged_logits, illegal=illegal.astype(jnp.int32))
  return merged, logits - jnp.take_along_axis(merged_logits, first, 1)
