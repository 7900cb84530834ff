"""Measures the training loop at other sizes, for `launch.benchmark --growth` and `--autotune`.

The first shows how the cost of an agent step grows with each size; the second searches for sizes
that are fast on this device.
"""

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from muzero_jax import config as configs
from muzero_jax import rules
from muzero_jax.benchmark.measure import in_turn, median_and_range
from muzero_jax.config import Config, ConfigError

Changes = dict[str, Any]  # settings by dotted name
# Returns "median", "least" and "most" seconds per agent step, or None if the run does not fit in
# memory.
Measure = Callable[[Changes], "dict[str, float] | None"]

ENOUGH = 1.05  # speedup that makes a size better than the best one so far
PATIENCE = 2  # sizes in a row without that speedup after which `climb` ends; one may be noise
KEPT = 0.8  # lowest acceptable speed, as a fraction of that with the fewest simulations


def plot_growth(options: Config, ticks: int, repeats: int, path: Path) -> dict[str, Any]:
  """Measures the loop as its sizes grow (`growth`), prints a table, plots it to an SVG file, and
  returns it. Arguments are as in `loop_time`.
  """
  from muzero_jax.reporting import plots

  check(options, "--growth")
  found = growth(options, jax.device_count(), loop_time(options, ticks, repeats))
  print(table(found))
  plots.draw_growth(path, found)
  return found


def propose(options: Config, ticks: int, repeats: int) -> Changes:
  """Searches for fast sizes (`autotune`), prints and returns them. Arguments are as in
  `loop_time`.
  """
  check(options, "--autotune")
  chosen = autotune(options, loop_time(options, ticks, repeats))
  print(f"proposed for {jax.devices()[0].device_kind}: {flags(chosen)}")
  return chosen


def check(options: Config, flag: str) -> None:
  """Checks that sizes are given per device, as they are changed here.

  Raises:
    ConfigError: they are given for all devices together.
  """
  if options.env.total_envs or options.learner.total_batch_size:
    raise ConfigError(
      f"{flag} changes --env.num_envs and --learner.batch_size: leave --env.total_envs and "
      "--learner.total_batch_size out."
    )


def growth(
  options: Config, devices: int, measure: Measure
) -> dict[str, dict[str, dict[str, float]]]:
  """Measures the cost of an agent step as one size at a time varies; others stay as configured.

  The number of samples per agent step stays constant: with a larger batch, gradient steps are
  rarer.

  Args:
    options: the settings that do not vary.
    devices: number of devices, which the environments are divided among.
    measure: see `loop_time`.

  Returns:
    Name of the varied quantity -> size -> "median", "least" and "most" seconds per agent step.
    Sizes that do not fit in memory are left out.
  """
  sweeps = {
    "environments": [
      (total, {"env.num_envs": total // devices})
      for total in (8, 16, 32, 64, 128, 256)
      if total >= devices
    ],
    "simulations": [(number, simulations(number)) for number in (0, 4, 8, 16, 32, 64)],
    "replay": [(steps, {"replay.capacity": steps}) for steps in (10_000, 100_000, 1_000_000)],
    "batch": [(size, batch(options, size)) for size in (16, 32, 64, 128, 256)],
  }
  if options.search.kind in ("none", "q"):
    del sweeps["simulations"]
  found = {
    name: {str(size): measure(changes) for size, changes in sizes} for name, sizes in sweeps.items()
  }
  return {
    name: {size: seconds for size, seconds in row.items() if seconds} for name, row in found.items()
  }


def autotune(options: Config, measure: Measure) -> Changes:
  """Searches for the sizes that make the loop fast on this device.

  First the number of environments is chosen, then the batch size, then the number of simulations.
  The first two are doubled until two sizes in a row are not 5 % faster than the best one
  (`climb`). The number of simulations is the largest that keeps four fifths of the speed
  (`afford`).

  Args:
    options: the settings that do not vary.
    measure: see `loop_time`.

  Returns:
    The chosen settings.
  """
  chosen = climb([{"env.num_envs": 8 * 2**i} for i in range(8)], measure)
  if options.learner.updates_per_step:
    chosen |= climb(
      [batch(options, 16 * 2**i) for i in range(8)], lambda changes: measure(chosen | changes)
    )
  if options.search.kind not in ("none", "q"):
    chosen |= afford(
      [{"search.num_simulations": number} for number in (2, 4, 8, 16, 32, 50)],
      lambda changes: measure(chosen | changes),
    )
  return chosen


def climb(sizes: Sequence[Changes], measure: Measure) -> Changes:
  """The last size that was at least 5 % faster than the best one before it.

  Larger sizes are not tried after two in a row that are not, or after one that does not fit.

  Args:
    sizes: in increasing order.
    measure: see `loop_time`.

  Raises:
    ConfigError: the smallest size does not fit in memory.
  """
  best, seconds, idle = sizes[0], _first(sizes, measure), 0
  for size in sizes[1:]:
    found = measure(size)
    if not found:
      break
    if seconds / found["median"] >= ENOUGH:
      best, seconds, idle = size, found["median"], 0
    else:
      idle += 1
    if idle == PATIENCE:
      break
  return best


def afford(sizes: Sequence[Changes], measure: Measure) -> Changes:
  """The largest size that keeps at least four fifths of the smallest size's speed.

  Larger sizes are not tried after one that is slower or does not fit. Arguments and errors are as
  in `climb`.
  """
  best, seconds = sizes[0], _first(sizes, measure)
  for size in sizes[1:]:
    found = measure(size)
    if not found or seconds / found["median"] < KEPT:
      break
    best = size
  return best


def _first(sizes: Sequence[Changes], measure: Measure) -> float:
  found = measure(sizes[0])
  if not found:
    raise ConfigError(
      f"Not even {flags(sizes[0])} fits: use a smaller --network.size or --replay.capacity."
    )
  return found["median"]


def simulations(number: int) -> Changes:
  """The settings for this number of simulations; 0 selects the search without a tree."""
  return {"search.num_simulations": number} if number else {"search.kind": "none"}


def batch(options: Config, size: int) -> Changes:
  """The settings for this batch size, with the same number of samples per agent step."""
  return {
    "learner.batch_size": size,
    "learner.updates_per_step": options.learner.updates_per_step
    * options.learner.batch_size
    / size,
  }


def loop_time(options: Config, ticks: int, repeats: int) -> Measure:
  """Makes a function that measures the training loop with changed settings and prints the result.

  Args:
    options: the settings that are changed.
    ticks: duration of a measurement. It is converted to agent steps with the number of environments
      in `options`, so that all sizes are measured for about equally many agent steps.
    repeats: measurements of each size.
  """
  from muzero_jax import build
  from muzero_jax.benchmark import memory
  from muzero_jax.benchmark.workloads import Parts

  total = ticks * options.env.num_envs

  def measure(changes: Changes) -> dict[str, float] | None:
    config = configs.replace(options, changes)
    try:
      rules.check(config)
      run = build.build(config)
      memory.check(run)
      count = run.loop.every * max(1, round(total / config.env.num_envs / run.loop.every))
      seconds = in_turn({"loop": Parts(run, count).loop()}, count, repeats)["loop"]
    except (ConfigError, RuntimeError) as error:
      if not isinstance(error, ConfigError) and "RESOURCE_EXHAUSTED" not in str(error):
        raise
      print(f"{flags(changes)}: left out ({str(error).splitlines()[0]})", flush=True)
      return None
    finally:
      gc.collect()  # free the replay before the next one is allocated
    found = median_and_range([value / run.width for value in seconds])
    print(f"{flags(changes)}: {1 / found['median']:,.0f} steps/s", flush=True)
    return found

  return measure


def flags(changes: Changes) -> str:
  """Formats changes as command line flags."""
  return " ".join(f"--{name}={value}" for name, value in changes.items())


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
  """Formats the result of `growth` as a Markdown table, in microseconds per agent step."""
  lines = ["| | microseconds per agent step (least to most) |", "|---|---|"]
  for name, row in found.items():
    cells = [
      f"{int(size):,}: {1e6 * s['median']:.0f} ({1e6 * s['least']:.0f} to {1e6 * s['most']:.0f})"
      for size, s in row.items()
    ]
    lines.append(f"| {name} | {'; '.join(cells)} |")
  return "\n".join(lines)
