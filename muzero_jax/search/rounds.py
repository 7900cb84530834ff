"""Gumbel MuZero's tree search, with one call of the model for each round of sequential halving.

Sequential halving visits every action that it still considers once before it visits one of them
again. The simulations of such a round start with different actions at the root and so grow
different branches: one call of the model serves them all, and its batch is as many times larger. 8
simulations over 6 actions are 2 calls (6 + 2), 16 over 16 are a single one, which looks one step
ahead, and 50 over 16 are 12 (16 + 8 + 3 of 4 + 7 of 2).
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mctx
import numpy as np
from mctx._src import seq_halving  # the schedule and the score are not in mctx's public interface

from muzero_jax.search import growth
from muzero_jax.search.backup import State
from muzero_jax.types import Array, Key, Params


@dataclasses.dataclass(frozen=True)
class Halving:
  """Sequential halving at the root: one action at a time, as in mctx, or those of a whole round.

  The fields are the arguments of `mctx.gumbel_muzero_root_action_selection`.
  """

  num_simulations: int
  max_num_considered_actions: int
  qtransform: Callable[[mctx.Tree, Array], Array]

  def __call__(self, key: Key, tree: mctx.Tree, node: Array) -> Array:
    """The action at the root of an unbatched tree in the next simulation, i32[]."""
    return mctx.gumbel_muzero_root_action_selection(
      key,
      tree,
      node,
      num_simulations=self.num_simulations,
      max_num_considered_actions=self.max_num_considered_actions,
      qtransform=self.qtransform,
    )

  def rounds(self, num_actions: int) -> list[int]:
    """Simulations of each round, for a root with this many legal actions.

    Round r considers the actions that have been visited r times.
    """
    considered = min(num_actions, self.max_num_considered_actions)
    visits = seq_halving.get_sequence_of_considered_visits(considered, self.num_simulations)
    return [len(list(group)) for _, group in itertools.groupby(visits)]

  def best(self, tree: mctx.Tree, visits: Array, width: int) -> Array:
    """Of the actions visited this often, those with the best scores, best first, i32[width].

    The tree is unbatched. Where there are fewer such actions, others follow.
    """
    score = seq_halving.score_considered(
      visits,
      tree.extra_data.root_gumbel,
      tree.children_prior_logits[0],
      self.qtransform(tree, jnp.int32(tree.ROOT_INDEX)),
      tree.children_visits[0],
    )
    return jax.lax.top_k(jnp.where(tree.root_invalid_actions > 0, -jnp.inf, score), width)[1]


def search(
  params: Params,
  rng_key: Key,
  *,
  root: mctx.RootFnOutput,
  recurrent_fn: mctx.RecurrentFn,
  root_action_selection_fn: Halving,
  interior_action_selection_fn: mctx.InteriorActionSelectionFn,
  num_simulations: int,
  max_depth: int | None = None,
  invalid_actions: Array | None = None,
  extra_data: Any = None,
) -> mctx.Tree:
  """Runs a tree search with Gumbel; arguments as those of `mctx.search`.

  The tree is that of mctx, with two differences, because all actions of a round are chosen at its
  beginning. mctx chooses them one by one: results for earlier actions change the scale of Q, and
  so the scores of later ones (docs/design.md says how often that matters).

  * At the root, the first round is mctx's. Where another one visits as many actions as the one
    before, only their order can differ, and with it the numbers of nodes. Where it visits fewer,
    they can be other actions.
  * Below the root nothing differs, except if actions there depend on other branches. Of the kinds
    of Q transform only `tree` does, by its extremes.

  With `invalid_actions`, roots have different schedules: there are as many rounds as the longest
  one has, up to one for each simulation (if a root may have only one legal action).
  """
  size, num_actions = root.prior_logits.shape
  possible = [num_actions] if invalid_actions is None else range(num_actions + 1)
  schedules = [root_action_selection_fn.rounds(legal) for legal in possible]
  # widths[l, r]: simulations of round r in a root with possible[l] legal actions
  widths = np.array(list(itertools.zip_longest(*schedules, fillvalue=0))).T
  begins = 1 + np.cumsum(widths, 1) - widths  # the first of the new nodes
  at_root = jax.vmap(root_action_selection_fn.best, (0, None, None))
  bound = min(max_depth or widths.shape[1], widths.shape[1])
  grower = growth.Grower(params, recurrent_fn, interior_action_selection_fn, bound)

  def play(width: int, i: Array, state: State) -> State:
    key, expand_key = jax.random.split(jax.random.fold_in(rng_key, i))
    first = at_root(state[0].replace(embeddings=None), i, width)
    slot = jnp.asarray(begins)[0, i]
    if invalid_actions is not None:
      legal = jnp.sum(1 - jnp.asarray(invalid_actions, jnp.int32), -1)
      begin, own = (jnp.asarray(x)[legal, i][:, None] for x in (begins, widths))
      order = jnp.arange(width)[None]
      slot = jnp.where(order < own, begin + order, growth.NOWHERE)
    return grower(jax.random.split(key, size), expand_key, state, first, slot)

  def new_tree(num_nodes: int) -> State:
    return growth.new_tree(root, num_nodes, invalid_actions, extra_data)

  state, i, room = new_tree(1), 0, 1
  for width, group in itertools.groupby(widths.max(0).tolist()):  # one program for equal rounds
    end = i + len(list(group))
    room = max(room, int(begins[:, i:end].max()) + width)
    state = growth.resized(state, new_tree(room))
    state, i = jax.lax.fori_loop(i, end, functools.partial(play, width), state), end
  return growth.finished(growth.resized(state, new_tree(num_simulations + 1)))
