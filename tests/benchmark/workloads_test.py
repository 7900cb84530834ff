"""The parts that `launch.benchmark` times work as often as the loop does."""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from launch import benchmark
from muzero_jax import build
from muzero_jax.benchmark import profile
from muzero_jax.benchmark.workloads import Parts
from muzero_jax.config import ConfigError


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
  jax.block_until_ready(work.run())
  assert calls == {("encode", 4): 2 * 5, ("step", 4): 2 * 5 * 3}


@pytest.mark.parametrize("name", ["network", "tree", "replay"])  # all are called in launch_test
def test_a_part_can_be_called_again_and_again(make_config, name):
  run = build.build(make_config(replay__kind="prioritized"))
  work = getattr(Parts(run, 3), name)()
  for _ in range(2):
    jax.block_until_ready(work.before())
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(jax.block_until_ready(work.run())))


def test_parts_that_a_run_does_not_have(make_config):
  parts = Parts(build.build(make_config(search__kind="none", learner__updates_per_step=0.0)), 1)
  assert parts.tree() is None and parts.emulators() is None and parts.learner() is None


def test_ratios_by_hand():
  """Emulators 3, network 5, loop 10: together 8 where they share the cores, 5 where they
  overlap.
  """
  seconds = {
    "emulators": [3.0],
    "environment": [4.0],
    "network": [5.0],
    "without_emulators": [6.0],
    "loop": [10.0],
  }
  assert benchmark.ratios(seconds, shared=True) == {
    "efficiency": [0.8],
    "feed": [0.9],
    "environment_ratio": [0.75],
  }
  assert benchmark.ratios(seconds, shared=False) == {
    "efficiency": [0.5],
    "feed": [0.6],
    "environment_ratio": [0.75],
  }
  seconds |= {"tree": [1.0], "search": [4.0]}
  del seconds["emulators"], seconds["environment"]
  assert benchmark.ratios(seconds, shared=True) == {
    "efficiency": [0.5],
    "feed": [0.6],
    "tree_share": [0.25],
  }
  assert benchmark.ratios(seconds, shared=True, complete=False) == {"tree_share": [0.25]}
  assert benchmark.ratios({"network": [1.0]}, shared=True) == {}
  assert benchmark.ratios({}, shared=True) == {}  # emulators alone of a game that has none


def test_parts_by_name():
  assert benchmark.named(benchmark.Options()) == list(benchmark.PARTS)
  assert benchmark.named(benchmark.Options(parts="tree, emulators")) == ["emulators", "tree"]
  with pytest.raises(ConfigError, match=r"--parts=trees: .* loop"):
    benchmark.named(benchmark.Options(parts="trees"))
  with pytest.raises(ConfigError, match="add loop to --parts"):
    benchmark.named(benchmark.Options(parts="tree", profile=True))


PROGRAM = """
HloModule jit_f, entry_computation_layout={(f32[4]{0})->f32[4]{0}}
%body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %dot.1 = f32[4]{0} dot(%x, %w), metadata={op_name="jit(f)/while/body/closed_call/jvp(Encoder)/Dense_0/dot_general" stack_frame_id=6}
  ROOT %add.2 = f32[4]{0:T(128)} fusion(%dot.1, %y), kind=kLoop, metadata={op_name="jit(f)/add"}
}
ENTRY %main (x: f32[4]) -> f32[4] {
  %while.3 = (s32[], /*index=1*/f32[4]{0}) while(%tuple), condition=%c, body=%body, metadata={op_name="jit(f)/while"}
  ROOT copy.4 = f32[4]{0} copy(%while.3)
}
"""


def test_costs_by_hand():
  """A product takes 2 + 4 s in two threads, an addition 1 s, a copy 1 s, in 4 ticks; the loop and
  foreign events do not count.
  """
  events = [
    ("dot.1", 2.0),
    ("dot.1", 4.0),
    ("add.2", 1.0),
    ("copy.4", 1.0),
    ("while.3", 9.0),
    ("end: dot.1", 3.0),
    ("python", 99.0),
  ]
  found = profile.largest(events, profile.operations(PROGRAM), 4)
  assert found == [
    {"operation": "jvp(Encoder)/Dense_0/dot_general", "share": 0.75, "seconds_per_tick": 1.5},
    {"operation": "add", "share": 0.125, "seconds_per_tick": 0.25},
    {"operation": "copy", "share": 0.125, "seconds_per_tick": 0.25},
  ]
  assert profile.lines(found)[0] == " 75.0%   1500.00 ms a tick  jvp(Encoder)/Dense_0/dot_general"
