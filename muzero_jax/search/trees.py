"""The tree of one search as plain arrays: to read, to store, to draw, and to replay.

Nodes are numbered by the simulation that added them; the root is node 0. An edge is stored with the
node it leads to.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import mctx
import numpy as np

from muzero_jax.search import drawing
from muzero_jax.search.base import grow
from muzero_jax.types import Array, Decision, Key, Params, Root, SearchFn, record

# Node, N of the edge to it, mean value of the node; for the root, N counts its own prediction, too.
Change = tuple[int, int, float]


@record
class Branches:
  """What a `SearchTree` is made from: the trees of B roots, N nodes each, on the device."""

  parent: Array  # i32[B, N]   -1: the root, or a node that is not in the tree
  action: Array  # i32[B, N]   of the edge to the node
  prior: Array  # f32[B, N]   probability of that action, as its parent predicts it
  reward: Array  # f32[B, N]   of that edge
  visits: Array  # i32[B, N]
  value: Array  # f32[B, N]   mean over visits
  predicted: Array  # f32[B, N]   the value that the network predicts
  root_prior: Array  # f32[B, A]


def decide(
  search: SearchFn, params: Params, key: Key, root: Root
) -> tuple[Decision, Branches | None]:
  """What `search(params, key, root)` returns, and the trees; None for a search without trees."""
  decision, tree = grow(search, params, key, root)
  return decision, None if tree is None else branches(tree)


def branches(tree: mctx.Tree) -> Branches:
  """The arrays of a batched tree that a `SearchTree` holds."""
  parent, action = (
    jnp.maximum(x, 0).astype(jnp.int32) for x in (tree.parents, tree.action_from_parent)
  )
  tops = jnp.arange(parent.shape[0])[:, None]
  priors = jax.nn.softmax(tree.children_prior_logits)
  return Branches(
    parent=tree.parents.astype(jnp.int32),
    action=action,
    prior=priors[tops, parent, action],
    reward=tree.children_rewards[tops, parent, action],
    visits=tree.node_visits.astype(jnp.int32),
    value=tree.node_values,
    predicted=tree.raw_values,
    root_prior=priors[:, tree.ROOT_INDEX],
  )


@dataclasses.dataclass(frozen=True)
class SearchTree:
  """The tree of one search, with N nodes; values and rewards in the units the agent trains on."""

  parent: np.ndarray  # i32[N]   -1: the root; or, with --search.max_depth, no node was added
  action: np.ndarray  # i32[N]   of the edge to the node; without meaning for the root, as below
  prior: np.ndarray  # f32[N]   P of that edge
  reward: np.ndarray  # f32[N]   of that edge, as the model predicts it
  visits: np.ndarray  # i32[N]   N of that edge
  value: np.ndarray  # f32[N]   of the node: the mean over its visits
  predicted: np.ndarray  # f32[N]   the value that the network predicts for the node
  root_prior: np.ndarray  # f32[A]
  policy: np.ndarray  # f32[A]   the improved policy at the root
  chosen: int  # the action taken
  discount: float  # of every edge
  names: tuple[str, ...] = ()  # of the actions; (): their numbers

  @classmethod
  def of(
    cls,
    found: Branches,
    decision: Decision,
    number: int,
    discount: float,
    names: Sequence[str] = (),
  ) -> "SearchTree":
    """The tree of one root of a batch, from arrays on the host."""
    arrays = {name: np.asarray(x)[number] for name, x in vars(found).items()}
    policy, chosen = np.asarray(decision.policy)[number], int(decision.action[number])
    return cls(**arrays, policy=policy, chosen=chosen, discount=discount, names=tuple(names))

  @property
  def simulations(self) -> int:
    return len(self.parent) - 1

  @property
  def q(self) -> np.ndarray:
    """Q of the edge to each node, f32[N]: reward + discount * value."""
    return self.reward + self.discount * self.value

  @property
  def nodes(self) -> np.ndarray:
    """The numbers of the nodes, i32[n]; fewer than N if simulations ended at --search.max_depth."""
    return np.flatnonzero((self.parent >= 0) | (np.arange(len(self.parent)) == 0))

  def path(self, node: int) -> list[int]:
    """The nodes from the root to `node`, both included."""
    nodes = [int(node)]
    while nodes[-1]:
      nodes.append(int(self.parent[nodes[-1]]))
    return nodes[::-1]

  def name(self, action: int) -> str:
    """The name of an action, or its number."""
    return self.names[action] if 0 <= action < len(self.names) else str(action)

  def replay(self) -> Iterator[list[Change]]:
    """What each simulation changed, beginning with the root's own prediction.

    It is computed from the finished tree: a simulation adds a node and backs its predicted value
    up. Where one added none, because it ended at a node at --search.max_depth, the tree does not
    say which node that was, and the change is empty; N and value then stay below the final ones.
    """
    visits, values = np.zeros(len(self.parent), int), np.zeros(len(self.parent))
    for node in range(len(self.parent)):
      if node and self.parent[node] < 0:
        yield []
        continue
      back, changes = float(self.predicted[node]), []
      for passed in reversed(self.path(node)):
        visits[passed] += 1
        values[passed] += (back - values[passed]) / visits[passed]
        changes.append((passed, int(visits[passed]), float(values[passed])))
        back = float(self.reward[passed]) + self.discount * back
      yield changes

  def to_dict(self) -> dict[str, Any]:
    """The fields as lists and numbers, for JSON; floats with five digits."""
    return {name: _plain(value) for name, value in vars(self).items()}

  @classmethod
  def from_dict(cls, fields: Any) -> "SearchTree":
    """The tree that `to_dict` described.

    Raises:
      ValueError: it is not such a description.
    """
    try:
      tree = cls(
        **{name: np.asarray(fields[name], np.int32) for name in ("parent", "action", "visits")},
        **{name: np.asarray(fields[name], np.float32) for name in _FLOATS},
        chosen=int(fields["chosen"]),
        discount=float(fields["discount"]),
        names=tuple(map(str, fields["names"])),
      )
    except (TypeError, KeyError, OverflowError, ValueError) as error:
      raise ValueError(f"this is not a search tree: {error!r}") from error
    size, actions = tree.parent.shape, tree.policy.shape
    ok = len(size) == len(actions) == 1 and size[0] > 0 and actions[0] > 0
    ok = ok and all(getattr(tree, name).shape == size for name in _NODES)
    ok = ok and tree.root_prior.shape == actions and 0 <= tree.chosen < actions[0]
    ok = ok and bool(np.all(tree.parent < np.arange(len(tree.parent))))
    ok = ok and set(tree.parent[tree.parent >= 0].tolist()) <= set(tree.nodes.tolist())
    ok = ok and all(np.all(np.isfinite(getattr(tree, name))) for name in _FLOATS)
    if not (ok and np.isfinite(tree.discount)):
      raise ValueError("this is not a search tree: sizes or numbers do not fit together")
    return tree

  def to_svg(self, simulation: int | None = None) -> str:
    """A drawing of the tree after some simulations (default: all of them), as the text of an SVG.

    Raises:
      ValueError: there was no such simulation.
    """
    if simulation is not None and not 0 <= simulation <= self.simulations:
      raise ValueError(f"simulation={simulation}: this tree has {self.simulations} simulations")
    return drawing.document(self, simulation)


_NODES = ("parent", "action", "visits", "prior", "reward", "value", "predicted")
_FLOATS = ("prior", "reward", "value", "predicted", "root_prior", "policy")


def _plain(value: Any) -> Any:
  if isinstance(value, np.ndarray):
    return [x if isinstance(x, int) else float(f"{x:.5g}") for x in value.tolist()]
  return list(value) if isinstance(value, tuple) else value
