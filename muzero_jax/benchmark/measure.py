"""How the measuring commands take time."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

REST = 0.5  # seconds, more than a step of a thousand emulators takes on a host that feeds them


def in_turn(works: dict[str, Any], ticks: int, repeats: int) -> dict[str, list[float]]:
  """Seconds per tick of each `workloads.Work`, measured in turn, so that they can be compared on a
  machine that is now fast, now slow.

  The first round is not counted.
  """
  import jax

  seconds = {name: [] for name in works}
  for _ in range(repeats + 1):
    for name, work in works.items():
      jax.block_until_ready(work.before())
      begun = time.perf_counter()
      jax.block_until_ready(work.run())
      seconds[name].append((time.perf_counter() - begun) / ticks)
      time.sleep(min(2 * seconds[name][-1], REST))  # the last step's emulators come to rest
  return {name: values[1:] for name, values in seconds.items()}


def spread(values: Sequence[float]) -> dict[str, float]:
  """Median, least and most."""
  return dict(median=statistics.median(values), least=min(values), most=max(values))
