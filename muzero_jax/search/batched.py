"""mctx's tree search, implemented without data-dependent loops.

mctx descends to a leaf and backs up from it in loops whose length is the deepest path in the batch.
On an accelerator each iteration costs dozens of small kernels and a synchronization with the host.
Here a simulation is a fixed sequence of operations on whole trees. All nodes choose an action at
once; pointer doubling follows these choices down from the root (`growth.py`); and because each node
stores the discounted rewards between itself and each of its ancestors, the backup is one expression
(`backup.py`).
"""

from typing import Any

import jax
import mctx

from muzero_jax.search import growth
from muzero_jax.search.backup import State
from muzero_jax.types import Array, Key, Params


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
  grower = growth.Grower(params, recurrent_fn, interior_action_selection_fn, bound)

  def simulate(i: Array, state: State) -> State:
    key, expand_key = jax.random.split(jax.random.fold_in(rng_key, i))
    keys = jax.random.split(key, size)
    first = at_root(keys, state[0].replace(embeddings=None), 0)
    return grower(keys, expand_key, state, first[:, None], i + 1)

  state = growth.new_tree(root, num_simulations + 1, invalid_actions, extra_data)
  return growth.finished(jax.lax.fori_loop(0, num_simulations, simulate, state))
