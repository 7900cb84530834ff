"""Times programs, for the benchmark commands."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

# Longest pause between measurements, in seconds. A step of a thousand emulators takes less.
REST = 0.5


def in_turn(works: dict[str, Any], ticks: int, repeats: int) -> dict[str, list[float]]:
  """Measures the seconds per tick of several workloads in turn.

  In turn, because the speed of a machine varies over time; so all workloads meet the same
  conditions and can be compared. The first repeat of each one is a warm-up and is discarded.

  Args:
    works: name -> `workloads.Work`.
    ticks: ticks that one call of each workload does.
    repeats: measurements of each workload.

  Returns:
    name -> seconds per tick of each repeat.
  """
  import jax

  seconds = {name: [] for name in works}
  for _ in range(repeats + 1):
    for name, work in works.items():
      jax.block_until_ready(work.before())
      begun = time.perf_counter()
      jax.block_until_ready(work.execute())
      seconds[name].append((time.perf_counter() - begun) / ticks)
      time.sleep(min(2 * seconds[name][-1], REST))  # let emulators finish their last step
  return {name: values[1:] for name, values in seconds.items()}


def median_and_range(values: Sequence[float]) -> dict[str, float]:
  """The median, the minimum ("least") and the maximum ("most") of repeated measurements."""
  return dict(median=statistics.median(values), least=min(values), most=max(values))
