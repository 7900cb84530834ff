"""Measures the loop of a run and its parts: times, rates, memory, and ratios to the ideal."""

import resource
import statistics
from collections.abc import Sequence
from typing import Any

import jax

from muzero_jax import build
from muzero_jax.benchmark import flops, profile
from muzero_jax.benchmark.measure import in_turn, median_and_range
from muzero_jax.benchmark.workloads import Parts, Work
from muzero_jax.build import Run


def measure(
  run: Run, names: Sequence[str], ticks: int, repeats: int, *, profiled: bool = False
) -> dict[str, Any]:
  """Measures parts of a run.

  Args:
    run: the run.
    names: the parts, methods of `Parts`; those that the run does not have are left out.
    ticks: ticks per measurement; rounded up to full periods of the learner.
    repeats: measurements of each part.
    profiled: whether to find the most expensive operations of the loop, which must be in `names`.

  Returns:
    All results by name, ready for JSON. Durations are seconds per tick; rates are per second.
  """
  parts = Parts(run, -(-ticks // run.loop.every) * run.loop.every)
  # The loop comes first: its memory is measured while no other part has allocated any.
  works = {"loop": parts.loop()} if "loop" in names else {}
  memory = memory_taken(works["loop"]) if works else {}
  made = {name: works.get(name) or getattr(parts, name)() for name in names}
  works = {name: work for name, work in made.items() if work}
  seconds = in_turn(works, parts.ticks, repeats)
  found = ratios(seconds, shared=run.target.platform == "cpu", complete="emulators" in names)
  figures = scale(run) | {
    "seconds_per_tick": {name: median_and_range(values) for name, values in seconds.items()},
    **{name: median_and_range(values) for name, values in found.items()},
  }
  if "loop" in works:
    figures |= rates(run, statistics.median(seconds["loop"]))
    figures |= dict(memory=memory, compile_seconds=works["loop"].compile_seconds)
    if profiled:
      figures["costs"] = profile.of(works["loop"], parts.ticks)
  return figures


def scale(run: Run) -> dict[str, Any]:
  """The device and what one tick does on all devices, and the size of the replay."""
  loop = run.loop
  return dict(
    device=jax.devices()[0].device_kind,
    devices=run.devices.size,
    total_envs=run.width,
    updates_per_tick=loop.updates / loop.every,
    batch=run.config.learner.batch_size * run.devices.size,
    simulations=loop.search.simulations,
    bytes_per_example=loop.ring.nbytes() / (loop.ring.rows * loop.ring.num_envs),
  )


def memory_taken(loop: Work) -> dict[str, Any]:
  """Bytes of memory used so far by this process and by the compiled loop, the only part so far."""
  analysis = loop.compiled.memory_analysis()
  return dict(
    host_peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    device_peak_bytes=(jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
    temporary_bytes=analysis.temp_size_in_bytes if analysis else 0,
  )


def rates(run: Run, tick: float) -> dict[str, Any]:
  """Rates of the loop per second, and the operations of its network; `tick` in seconds."""
  config, simulations = run.config, run.loop.search.simulations
  operations = flops.flops(run)
  # A measured peak is that of all cores of a CPU, but of only one accelerator.
  processors = 1 if run.target.platform == "cpu" else run.devices.size
  rate, updates = run.width / tick, run.loop.updates / run.loop.every / tick
  return dict(
    env_steps_per_second=rate,
    frames_per_second=rate * max(build.frames_per_step(config), 1),
    simulations_per_second=rate * simulations,
    updates_per_second=updates,
    samples_per_second=updates * config.learner.batch_size * run.devices.size,
    flops_per_tick=operations,
    achieved_flops_per_second=sum(operations.values()) / tick,
    peak_flops_per_second=flops.peak(config.network.precision) * processors,
  )


def ratios(
  seconds: dict[str, list[float]], *, shared: bool, complete: bool = True
) -> dict[str, list[float]]:
  """Computes efficiency and other ratios for each repeat; docs/benchmarks.md explains them.

  Args:
    seconds: part -> seconds per tick of each repeat.
    shared: whether emulators and network share the CPU's cores. If not, they can overlap.
    complete: whether a missing measurement of emulators means that the run has none.
  """

  def ideal(other: str) -> list[float]:
    emulators = seconds.get("emulators", [0.0] * len(seconds[other]))
    return [a + b if shared else max(a, b) for a, b in zip(emulators, seconds[other], strict=True)]

  def over(above: list[float], below: list[float]) -> list[float]:
    return [a / b for a, b in zip(above, below, strict=True)]

  found = {}
  if complete and seconds.keys() >= {"network", "loop"}:
    found["efficiency"] = over(ideal("network"), seconds["loop"])
  if complete and seconds.keys() >= {"without_emulators", "loop"}:
    found["feed"] = over(ideal("without_emulators"), seconds["loop"])
  if seconds.keys() >= {"emulators", "environment"}:
    found["environment_ratio"] = over(seconds["emulators"], seconds["environment"])
  if seconds.keys() >= {"tree", "search"}:
    found["tree_share"] = over(seconds["tree"], seconds["search"])
  return found
