"""Measures the speed of the training loop and of its parts, and compares it with the ideal.

muzero-jax benchmark --preset=NAME [--parts=NAME,...] [--profile] [--json=FILE] [--flag=value ...]
muzero-jax benchmark --preset=NAME --growth=FILE.svg [--json=FILE] [--flag=value ...]
muzero-jax benchmark --preset=NAME --autotune [--json=FILE] [--flag=value ...]

The parts are the emulators, the network, the loop without emulators, the parts of that loop, and
the whole loop; all are measured in one process. With --parts only some of them are measured. With
--profile the most expensive operations of the loop are listed, too.
With --growth the loop is measured at other sizes instead of its parts; with --autotune the command
searches for sizes that make the loop fast on this device.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

from launch import cli
from muzero_jax.benchmark.table import PARTS, table
from muzero_jax.config import Config, ConfigError, option


@dataclasses.dataclass(frozen=True)
class Options(Config):
  """The settings of a run, and how to measure it."""

  json: str = option("", "write the results to this file, too")
  ticks: int = option(
    32, "ticks (one step in every environment) per measurement of a part", minimum=1
  )
  repeats: int = option(7, "measurements of each part; the median is reported", minimum=1)
  parts: str = option(
    "", f"measure only these, with commas between: {', '.join(PARTS)}; empty: all"
  )
  profile: bool = option(False, "list the compiled operations that take most of the loop's time")
  growth: str = option(
    "", "measure how the loop's cost grows with its sizes instead, and plot it to this SVG file"
  )
  autotune: bool = option(
    False,
    "propose numbers of environments, examples per batch and simulations that are fast on this "
    "device, instead; how well an agent learns with them is not considered",
  )


def main(argv: list[str]) -> None:
  """Measures what the flags ask for, and prints the results."""
  from muzero_jax import flags, rules

  options = flags.parse(argv, Options(), usage=__doc__)
  rules.check(options)
  cli.use_devices(options.cpu_devices)
  if options.growth or options.autotune:
    figures = sweep_sizes(options)
  else:
    figures = measure_parts(options)
  if options.json:
    Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")


def sweep_sizes(options: Options) -> dict[str, Any]:
  """Measures the loop at other sizes (--growth or --autotune); prints and returns the results."""
  import jax

  from muzero_jax.benchmark import sweep

  measured = sweep.loop_time(options, options.ticks, options.repeats)
  if options.autotune:
    chosen = sweep.autotune(options, measured)
    print(f"proposed for {jax.devices()[0].device_kind}: {sweep.flags(chosen)}")
    return chosen
  from muzero_jax.reporting import plots

  found = sweep.growth(options, jax.device_count(), measured)
  print(sweep.table(found))
  plots.draw_growth(Path(options.growth), found)
  return found


def measure_parts(options: Options) -> dict[str, Any]:
  """Measures the loop and its parts; prints and returns the results."""
  from muzero_jax import build
  from muzero_jax.benchmark import figures, memory

  names = named(options)
  run = build.build(options)
  print(memory.check(run, replays=4))
  found = figures.measure(run, names, options.ticks, options.repeats, profiled=options.profile)
  print(table(found))
  return found


def named(options: Options) -> list[str]:
  """The parts that --parts asks for, in the order of `PARTS`.

  Raises:
    ConfigError: there is no such part, or --profile is set and the loop is not among the parts.
  """
  asked = cli.chosen("parts", "part", options.parts, PARTS)
  if options.profile and "loop" not in asked:
    raise ConfigError(
      "--profile lists the costs of the loop, which --parts leaves out: add loop to --parts."
    )
  return [name for name in PARTS if name in asked]


if __name__ == "__main__":
  cli.run(main)
