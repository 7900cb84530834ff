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
from muzero_jax.benchmark.parts import PARTS, chosen, table
from muzero_jax.config import Config, option


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
  if options.json:
    cli.write(options.json, "")
  cli.use_devices(options.cpu_devices)
  from muzero_jax.benchmark import sweep

  if options.autotune:
    figures = sweep.propose(options, options.ticks, options.repeats)
  elif options.growth:
    figures = sweep.plot_growth(options, options.ticks, options.repeats, Path(options.growth))
  else:
    figures = measure_parts(options)
  if options.json:
    cli.write(options.json, json.dumps(figures, indent=2) + "\n")


def measure_parts(options: Options) -> dict[str, Any]:
  """Measures the loop and its parts; prints and returns the results."""
  from muzero_jax import build
  from muzero_jax.benchmark import figures, memory

  names = chosen(options.parts, profiled=options.profile)
  run = build.build(options)
  print(memory.check(run, replays=4))
  found = figures.measure(run, names, options.ticks, options.repeats, profiled=options.profile)
  print(table(found))
  return found


if __name__ == "__main__":
  cli.run(main)
