"""The parts that `launch.benchmark` times work as often as the loop does."""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax import build
from muzero_jax.benchmark.workloads import Parts


def counted(run, calls):
  """The run, but that every use of its model is noted, with the number of roots; the compiler may
  drop or share what is not needed.
  """

  def noting(name, fn):
    def noted(params, x, *rest):
      def note(number):
        calls[name, x.shape[0]] += 1
        return np.float32(0) * number

      zero = jax.pure_callback(
        note,
        jax.ShapeDtypeStruct((), jnp.float32),
        x.reshape(-1)[0].astype(jnp.float32),
        vmap_method="sequential",
      )
      return fn(params, x, *rest), zero

    return noted

  model = run.loop.model
  encode, step = noting("encode", model.encode), noting("step", model.step)

  def encoded(params, frames):
    hidden, zero = encode(params, frames)
    return hidden + zero

  def stepped(params, hidden, action):
    (hidden, reward), zero = step(params, hidden, action)
    return hidden + zero, reward

  model = model._replace(encode=encoded, step=stepped)
  search = dataclasses.replace(run.loop.search, model=model)
  return dataclasses.replace(run, loop=dataclasses.replace(run.loop, model=model, search=search))


@pytest.mark.parametrize("name", ["search", "search_network"])
def test_a_search_encodes_once_and_steps_once_per_simulation(make_config, name):
  """On each of 2 devices in each of 5 ticks, 4 games: nothing is left out, done once for all, or
  done by the tree alone.
  """
  calls = collections.Counter()
  run = counted(build.build(make_config(search__num_simulations=3)), calls)
  work = getattr(Parts(run, 5), name)()
  calls.clear()
  jax.block_until_ready(work.execute())
  assert calls == {("encode", 4): 2 * 5, ("step", 4): 2 * 5 * 3}


@pytest.mark.parametrize("name", ["network", "tree", "replay"])  # all are called in launch_test
def test_a_part_can_be_called_again_and_again(make_config, name):
  run = build.build(make_config(replay__kind="prioritized"))
  work = getattr(Parts(run, 3), name)()
  for _ in range(2):
    jax.block_until_ready(work.before())
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(jax.block_until_ready(work.execute())))


def test_parts_that_a_run_does_not_have(make_config):
  parts = Parts(build.build(make_config(search__kind="none", learner__updates_per_step=0.0)), 1)
  assert parts.tree() is None and parts.emulators() is None and parts.learner() is None
