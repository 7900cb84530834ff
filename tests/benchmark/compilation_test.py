"""Runs compiled for an H100 and a TPU v5e that are not here: what they copy and launch.

`launch/test.sh --targets` installs the compilers and runs these tests.
"""

import functools

import jax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from muzero_jax import build, flags
from muzero_jax.benchmark import compilation, hlo
from muzero_jax.config import Config
from muzero_jax.device import chips
from muzero_jax.replay.frames import Ring

pytestmark = [pytest.mark.targets, pytest.mark.long]
TARGETS = ["h100", "v5e"]
# Most kernels of acting in a tick and of one gradient step. In November 2026: 230 and 614, 292 and
# 666.
CEILINGS = {"catch": (250, 680), "quickstart": (320, 730)}


@pytest.fixture(autouse=True, scope="module")
def nothing_is_kept():
  """Programs for devices that are not here must not come from a cache."""
  before = jax.config.jax_enable_compilation_cache
  jax.config.update("jax_enable_compilation_cache", False)
  yield
  jax.config.update("jax_enable_compilation_cache", before)


def needs_compiler(target):
  missing = chips.missing_extra(chips.CHIPS[target].platform)
  if missing:
    pytest.skip(f'needs a compiler: pip install ".[{missing}]"')


@functools.cache
def report(target, preset, *words, devices=1, processes=1):
  """The report about a preset, compiled once."""
  needs_compiler(target)
  config = flags.parse(["test", f"--preset={preset}", *words], Config())
  run = build.build(config, target=chips.described(target, devices, processes))
  return compilation.report(run, chips.CHIPS[target], compilation.compiled(run))


@pytest.mark.parametrize("preset", ["catch", "quickstart"])
@pytest.mark.parametrize("target", TARGETS)
def test_nothing_large_is_copied(target, preset):
  """All state is updated in place (all arguments but the number of ticks), in 32 bits or less."""
  figures = report(target, preset)
  sizes = figures["memory"]
  assert 0 <= sizes["arguments"] - sizes["aliased"] <= 1024
  assert figures["frames_copied"] == 0
  assert not figures["float64"]
  assert figures["fits"]


@pytest.mark.parametrize("target", TARGETS)
def test_temporary_memory_does_not_grow_with_the_replay(target):
  """Four times as many steps. A TPU holds all but frames twice while a call begins and ends, in
  tiles, which take up to twice their size.
  """
  small = report(target, "catch")["memory"]
  large = report(target, "catch", "--replay.capacity=262144")["memory"]
  frames = (262_144 - 65_536) * (128 if target == "v5e" else 50)
  rest = large["replay"] - small["replay"] - frames
  assert rest > 0
  allowed = 2 * rest if target == "v5e" else 0.02 * frames
  assert large["temporary"] - small["temporary"] < allowed


@pytest.mark.parametrize("preset", ["catch", "quickstart"])
def test_launches_stay_below_their_ceilings(preset):
  figures = report("h100", preset)
  found = figures["acting"]["kernels"], figures["update"]["kernels"]
  most = CEILINGS[preset]
  assert 0 < found[0] <= most[0] and 0 < found[1] <= most[1], (found, most)
  assert figures["acting"]["reads"] == 1  # the condition of the loop over ticks


def test_a_simulation_of_a_batched_tree_has_few_launches():
  """In November 2026: 46. Such a tree is that of PUCT on a GPU; Gumbel's grows in rounds."""
  simulation = report("h100", "catch", "--search.tree=batched")["simulation"]
  assert 0 < simulation["kernels"] <= 50 and simulation["reads"] == 0


@pytest.mark.parametrize("target", TARGETS)
def test_the_program_of_one_of_two_processes(target):
  """Two hosts of four devices. Their program differs from that of one host in its metrics only,
  which every process gets of all devices.
  """
  figures = report(target, "catch", devices=8, processes=2)
  assert (figures["devices"], figures["processes"]) == (8, 2)
  sizes = figures["memory"]
  assert 0 <= sizes["arguments"] - sizes["aliased"] <= 1024
  assert figures["frames_copied"] == 0 and figures["fits"]


def test_the_newest_frames_are_read_alone():
  """With rows of 3.7 MB; of a gather of such rows, XLA copies the whole array in pieces."""
  needs_compiler("v5e")
  ring = Ring(rows=64, num_envs=512, num_actions=6, frame_shape=(84, 84), aligned=True)
  everywhere = NamedSharding(chips.described("v5e").devices, PartitionSpec())
  replay = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=everywhere), jax.eval_shape(ring.init)
  )
  lowered = jax.jit(ring.recent).trace(replay).lower(lowering_platforms=("tpu",))
  program = hlo.Program(lowered.compile().as_text())
  kernels = [x for _, x, _ in program.walk(program.entry, lambda _: 1) if hlo.is_kernel(x)]
  assert max(hlo.nbytes(x.shape) for x in kernels) <= 4 * 512 * 7168
