"""The real loop at other sizes: how its cost grows, and which sizes a device wants.
`launch.benchmark --growth` and `--autotune`.
"""

import gc
from collections.abc import Callable, Sequence
from typing import Any

from muzero_jax import config as configs
from muzero_jax.benchmark.measure import in_turn, spread
from muzero_jax.config import Config, ConfigError

Changes = dict[str, Any]  # settings by dotted name
Measure = Callable[
  [Changes], "dict[str, float] | None"
]  # seconds per agent step: median, least, most; None: does not fit

ENOUGH = 1.05  # a size is doubled as long as that makes the loop so many times as fast
PATIENCE = (
  2  # sizes in a row that do not, after which no larger one is tried: a single one may be noise
)
KEPT = 0.8  # share of the speed with the fewest simulations that more of them may leave


def growth(
  options: Config, devices: int, measure: Measure
) -> dict[str, dict[str, dict[str, float]]]:
  """Seconds per agent step against one size at a time, the others as configured.

  The samples learned from per step stay as they are: a larger batch comes less often.

  Args:
    options: all other settings.
    devices: games are given in total, and shared out.
    measure: see `loop_time`.

  Returns:
    name -> size -> spread of the seconds.
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
  if options.search.kind == "none":
    del sweeps["simulations"]
  found = {
    name: {str(size): measure(changes) for size, changes in sizes} for name, sizes in sweeps.items()
  }
  return {
    name: {size: seconds for size, seconds in row.items() if seconds} for name, row in found.items()
  }


def autotune(options: Config, measure: Measure) -> Changes:
  """Settings for speed: games, then batch, then simulations, each with those before it chosen.

  Games and batch are doubled until that has gained less than 5 % twice; then as many simulations as
  leave four fifths of the speed.
  """
  chosen = climb([{"env.num_envs": 8 * 2**i} for i in range(8)], measure)
  if options.learner.updates_per_step:
    chosen |= climb(
      [batch(options, 16 * 2**i) for i in range(8)], lambda changes: measure(chosen | changes)
    )
  if options.search.kind != "none":
    chosen |= afford(
      [{"search.num_simulations": number} for number in (2, 4, 8, 16, 32, 50)],
      lambda changes: measure(chosen | changes),
    )
  return chosen


def climb(sizes: Sequence[Changes], measure: Measure) -> Changes:
  """The last size that was 5 % faster than the best before it; two in a row that are not, or one
  that does not fit, end the climb.

  Raises:
    ConfigError: not even the smallest fits.
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
  """The last size that keeps four fifths of the first one's speed; ConfigError as in `climb`."""
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
  """So many, 0 being a look ahead without a tree."""
  return {"search.num_simulations": number} if number else {"search.kind": "none"}


def batch(options: Config, size: int) -> Changes:
  """Another batch with as many samples per step."""
  return {
    "learner.batch_size": size,
    "learner.updates_per_step": options.learner.updates_per_step
    * options.learner.batch_size
    / size,
  }


def loop_time(options: Config, ticks: int, repeats: int) -> Measure:
  """Measures the real loop, each size for about as many agent steps as `ticks` ticks of `options`
  have; says what it finds.
  """
  from muzero_jax import build
  from muzero_jax.benchmark import memory
  from muzero_jax.benchmark.workloads import Parts

  total = ticks * options.env.num_envs

  def measure(changes: Changes) -> dict[str, float] | None:
    config = configs.replace(options, changes)
    try:
      run = build.build(config)
      memory.plan(run)
      count = run.loop.every * max(1, round(total / config.env.num_envs / run.loop.every))
      seconds = in_turn({"loop": Parts(run, count).loop()}, count, repeats)["loop"]
    except (ConfigError, RuntimeError) as error:
      if not isinstance(error, ConfigError) and "RESOURCE_EXHAUSTED" not in str(error):
        raise
      print(f"{flags(changes)}: left out ({str(error).splitlines()[0]})", flush=True)
      return None
    finally:
      gc.collect()  # the replay, before the next one is made
    found = spread([value / run.width for value in seconds])
    print(f"{flags(changes)}: {1 / found['median']:,.0f} steps/s", flush=True)
    return found

  return measure


def flags(changes: Changes) -> str:
  """As they are given on the command line."""
  return " ".join(f"--{name}={value}" for name, value in changes.items())


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
  """Markdown: microseconds per agent step."""
  lines = ["| | microseconds per agent step (least to most) |", "|---|---|"]
  for name, row in found.items():
    cells = [
      f"{int(size):,}: {1e6 * s['median']:.0f} ({1e6 * s['least']:.0f} to {1e6 * s['most']:.0f})"
      for size, s in row.items()
    ]
    lines.append(f"| {name} | {'; '.join(cells)} |")
  return "\n".join(lines)
