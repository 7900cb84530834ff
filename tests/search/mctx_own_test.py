"""mctx's own tests, which have illegal actions, on our growers of trees."""

import os
import pathlib
import unittest

import jax
import mctx
import pytest

from muzero_jax.search import batched, rounds

SOURCE = pathlib.Path(mctx.__file__).parent
GUMBEL = [
  "tree_test.TreeTest.test_tree_gumbel_muzero_reward",
  "policies_test.PoliciesTest.test_gumbel_muzero_policy",
  "policies_test.PoliciesTest.test_gumbel_muzero_policy_without_invalid_actions",
]
PUCT = [
  "tree_test.TreeTest.test_tree_muzero_qtransform",
  "policies_test.PoliciesTest.test_muzero_policy",
]
LARGE = "tree_test.TreeTest.test_tree_gumbel_muzero_norescale"  # 200 simulations of 82 actions


def by_batches(recurrent_fn, size):
  """For a model that knows the size of its batch: several batches at once."""

  def many(params, key, action, embedding):
    split = jax.tree.map(lambda x: x.reshape(-1, size, *x.shape[1:]), (action, embedding))
    answer = jax.vmap(lambda x: recurrent_fn(params, key, *x))(split)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), answer)

  return many


def in_rounds(params, rng_key, *, root_action_selection_fn, recurrent_fn, root, **rest):
  halving = rounds.Halving(**root_action_selection_fn.keywords)
  recurrent_fn = by_batches(recurrent_fn, root.value.shape[0])
  return rounds.search(
    params,
    rng_key,
    root_action_selection_fn=halving,
    recurrent_fn=recurrent_fn,
    root=root,
    **rest,
  )


@pytest.fixture
def as_mctx_is_tested():
  """Importing its tests changes a setting of JAX; they look for their data from one folder."""
  before, folder = jax.config.jax_threefry_partitionable, pathlib.Path.cwd()
  jax.config.update("jax_threefry_partitionable", False)
  os.chdir(SOURCE)
  yield
  os.chdir(folder)
  jax.config.update("jax_threefry_partitionable", before)


@pytest.mark.parametrize(
  ("grower", "name"),
  [(batched.search, name) for name in [*GUMBEL, *PUCT, LARGE]]
  # In rounds, compiling this one and the large one takes a minute each.
  + [(in_rounds, name) for name in GUMBEL if "gumbel_muzero_reward" not in name],
)
def test_mctxs_own_tests(grower, name, monkeypatch, as_mctx_is_tested):
  module = f"mctx._src.tests.{name.split('.')[0]}"
  pytest.importorskip(module)
  from mctx._src import policies

  used = []

  def search(*args, loop_fn, **rest):
    used.append(loop_fn)
    return jax.jit(lambda: grower(*args, **rest))()

  monkeypatch.setattr(policies.search, "search", search)
  result = unittest.TestResult()
  unittest.defaultTestLoader.loadTestsFromName(f"mctx._src.tests.{name}").run(result)
  assert result.testsRun == 1 and used
  assert not result.errors and not result.failures, (result.errors + result.failures)[0][1]
