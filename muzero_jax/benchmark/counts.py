"""Counts what a compiled program of a run makes a device do in a tick: kernels, bytes, copies."""

import dataclasses
import math
from typing import Any

import jax

from muzero_jax.benchmark import hlo, stubs
from muzero_jax.build import Run
from muzero_jax.learner import RESETTING
from muzero_jax.loop import LEARNING

KERNEL, READ = 2e-6, 10e-6  # seconds on a GPU: assumed, of a kernel, and of a value the host reads
DESCENT = 3  # iterations assumed of a loop in a search, where their number depends on data


@dataclasses.dataclass
class Count:
  """What a device does for a part of the program."""

  kernels: float = 0
  reads: float = 0  # values that the host waits for: conditions of loops and branches
  bytes: float = 0  # of the main memory, that kernels read and write

  @property
  def seconds(self) -> float:
    """The least time in which a GPU is given this work; an estimate."""
    return self.kernels * KERNEL + self.reads * READ


def count(run: Run, text: hlo.Program) -> tuple[Count, Count]:
  """What acting and learning take in a tick, on average over ticks."""
  acting, learning = Count(), Count()
  loop, trips = _tick(text), _Trips(run)
  learner = _inside_learner(text, loop)
  for computation, one, executions in text.walk(loop.calls("body"), trips):
    part = learning if _learns(one) or computation in learner else acting
    _add(part, text, computation, one, executions, trips)
  for one in text.computations[loop.calls("condition")]:
    _add(acting, text, loop.calls("condition"), one, 1, trips)
  acting.reads += 1
  return acting, learning


def heaviest(run: Run, text: hlo.Program, number: int) -> list[dict[str, Any]]:
  """The operations whose kernels move most bytes in a tick: origin, code, kernels, bytes."""
  found: dict[tuple[str, str], Count] = {}
  trips = _Trips(run)
  for computation, one, executions in text.walk(_tick(text).calls("body"), trips):
    if hlo.is_kernel(one):
      of = found.setdefault((one.origin, one.code), Count())
      _add(of, text, computation, one, executions, trips)
  ordered = sorted(found.items(), key=lambda item: item[1].bytes, reverse=True)
  return [
    dict(origin=origin, code=code, kernels=of.kernels, bytes=of.bytes)
    for (origin, code), of in ordered[:number]
  ]


def inner(run: Run, text: hlo.Program) -> tuple[Count, Count]:
  """What one gradient step takes, and one simulation of the search that acts.

  Both are bodies of loops. A simulation is 0 if there is no tree.
  """
  trips = _Trips(run)
  simulations = {tree.simulations for tree in stubs.trees(run.loop.search)} - {1}
  update, loops = Count(), []
  for _, one, executions in text.walk(_tick(text).calls("body"), trips):
    if one.code == "while" and not _learns(one) and text.trips(one) in simulations:
      loops.append(one)
    if one.code == "while" and _learns(one) and text.trips(one) is None and executions == 1:
      if not update.kernels:
        update = _body(text, one, trips)
  bodies = [_body(text, one, trips) for one in loops]
  return update, max(bodies, key=lambda x: x.kernels, default=Count())


def _body(text: hlo.Program, loop: hlo.Instruction, trips: "_Trips") -> Count:
  found = Count()
  for computation, one, executions in text.walk(loop.calls("body"), trips):
    _add(found, text, computation, one, executions, trips)
  return found


def _add(
  to: Count,
  text: hlo.Program,
  computation: str,
  one: hlo.Instruction,
  executions: float,
  trips: "_Trips",
) -> None:
  if hlo.is_kernel(one):
    to.kernels += executions
    to.bytes += executions * text.moved(computation, one)
  if one.code == "while" and text.trips(one) is None:
    to.reads += executions * (1 + trips(one))
  to.reads += executions * (one.code == "conditional")


class _Trips:
  """Iterations of loops whose number depends on data, on average over ticks."""

  def __init__(self, run: Run):
    resets = run.loop.learner.resets
    self._known = {
      RESETTING: 1 / resets.period if resets else 0.0,
      LEARNING: run.loop.updates / run.loop.every,
    }
    self._outermost: dict[str, str] = {}  # mark -> loop; it is the first one that is met

  def __call__(self, loop: hlo.Instruction) -> float:
    for mark, trips in self._known.items():
      if f"/{mark}/" in loop.origin:
        if self._outermost.setdefault(mark, loop.name) == loop.name:
          return trips
    return DESCENT


def _learns(one: hlo.Instruction) -> bool:
  return f"/{LEARNING}/" in one.origin


def _inside_learner(text: hlo.Program, tick: hlo.Instruction) -> set[str]:
  """The computations inside loops of the learner; XLA does not record all origins there."""
  body = text.walk(tick.calls("body"), lambda _: 1)
  loops = [one.calls("body") for _, one, _ in body if one.code == "while" and _learns(one)]
  return {name for loop in loops for name, _, _ in text.walk(loop, lambda _: 1)}


def _tick(text: hlo.Program) -> hlo.Instruction:
  """The loop over ticks: of the outermost loops, the one with the longest body."""
  loops = [x for x in text.computations[text.entry] if x.code == "while"]
  return max(loops, key=lambda x: len(text.computations[x.calls("body")]))


def copied(run: Run, text: hlo.Program) -> int:
  """Bytes that are written as whole copies of the replay's frames, in one tick and one call.

  A copy has the shape of the frames, up to the order of its axes, or is in pieces of one kernel.
  """
  frame = jax.eval_shape(run.loop.ring.init).frame
  sides = sorted(size for size in frame.shape if size > 1)
  size, total = frame.size * frame.dtype.itemsize, 0.0
  trips = _Trips(run)
  over_ticks = {x.name for x in text.computations[text.entry] if x.code == "while"}

  def once(loop: hlo.Instruction) -> float:
    return 1.0 if loop.name in over_ticks else trips(loop)

  for _, one, executions in text.walk(text.entry, once):
    if not hlo.is_kernel(one) or text.in_place(one):
      continue
    arrays = [dims for _, dims, _ in hlo.arrays(one.shape)]
    written = arrays[:1] if one.code.endswith("-start") else arrays
    same = [
      dims
      for dims in written
      if sorted(side for side in dims if side > 1) == sides or math.prod(dims) == frame.size
    ]
    in_pieces = len(written) > 1 and sum(map(math.prod, written)) == frame.size
    total += executions * size * (len(same) or in_pieces)
  return int(total)
