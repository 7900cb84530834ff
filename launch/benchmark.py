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
import resource
import statistics
from pathlib import Path
from typing import Any

from launch import cli
from muzero_jax.benchmark import profile
from muzero_jax.benchmark.measure import in_turn, spread
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
    "", "measure only these, with commas between: see PARTS in launch/benchmark.py; empty: all"
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


# The parts: a method of `muzero_jax.benchmark.workloads.Parts` -> the part's name in the table. A
# part that is indented is contained in the one above.
PARTS = {
  "emulators": "emulators alone",
  "environment": "environment layer",
  "network": "network alone",
  "without_emulators": "loop, no emulators",
  "search": "  search",
  "search_network": "    its network",
  "tree": "    its tree",
  "learner": "  learner",
  "replay": "  replay",
  "loop": "loop",
}


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
  from muzero_jax.benchmark import memory

  run = build.build(options)
  print(memory.plan(run, replays=4))
  figures = measure(run, options)
  print(table(figures))
  return figures


def measure(run: Any, options: Options) -> dict[str, Any]:
  """Measures the parts of a run.

  Args:
    run: the run (`build.Experiment`).
    options: which parts, and how often.

  Returns:
    All results by name, ready for JSON. Durations are seconds per tick; rates are per second.
  """
  import jax

  from muzero_jax.benchmark.workloads import Parts

  names = named(options)
  parts = Parts(run, -(-options.ticks // run.loop.every) * run.loop.every)
  # The loop comes first: its memory is measured while no other part has allocated any.
  works = {"loop": parts.loop()} if "loop" in names else {}
  memory = memory_taken(works["loop"]) if works else {}
  works = {name: works.get(name) or getattr(parts, name)() for name in names}
  works = {name: work for name, work in works.items() if work}
  seconds = in_turn(works, parts.ticks, options.repeats)
  figures = dict(
    device=jax.devices()[0].device_kind,
    devices=run.devices.size,
    games=run.width,
    updates_per_tick=run.loop.updates / run.loop.every,
    batch=options.learner.batch_size * run.devices.size,
    simulations=run.loop.search.simulations,
    bytes_per_example=run.loop.ring.nbytes() / (run.loop.ring.rows * run.loop.ring.num_envs),
    seconds_per_tick={name: spread(values) for name, values in seconds.items()},
  )
  found = ratios(seconds, shared=run.target.platform == "cpu", complete="emulators" in names)
  figures |= {name: spread(values) for name, values in found.items()}
  if "loop" in works:
    figures |= rates(run, options, statistics.median(seconds["loop"]))
    figures |= dict(memory=memory, compile_seconds=works["loop"].compile_seconds)
    if options.profile:
      figures["costs"] = profile.of(works["loop"], parts.ticks)
  return figures


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


def memory_taken(loop: Any) -> dict[str, Any]:
  """Bytes of memory used so far by this process and by the compiled loop.

  Args:
    loop: the `workloads.Work` of the loop, which must be the only part so far.
  """
  import jax

  analysis = loop.compiled.memory_analysis()
  return dict(
    host_peak_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    device_peak_bytes=(jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
    temporary_bytes=analysis.temp_size_in_bytes if analysis else 0,
  )


def rates(run: Any, options: Options, tick: float) -> dict[str, Any]:
  """Rates of the loop per second, and the operations of its network.

  Args:
    run: the run (`build.Experiment`).
    options: its settings.
    tick: seconds per tick of the loop.
  """
  from muzero_jax import build
  from muzero_jax.benchmark import flops

  operations = flops.flops(run)
  peak = flops.peak(options.network.precision) * (
    1 if run.target.platform == "cpu" else run.devices.size
  )
  rate, updates = run.width / tick, run.loop.updates / run.loop.every
  atari = build.is_atari(options)
  return dict(
    env_steps_per_second=rate,
    frames_per_second=rate * (options.env.frame_skip if atari else 1),
    simulations_per_second=rate * run.loop.search.simulations,
    updates_per_second=updates / tick,
    samples_per_second=updates / tick * options.learner.batch_size * run.devices.size,
    flops_per_tick=operations,
    achieved_flops_per_second=sum(operations.values()) / tick,
    peak_flops_per_second=peak,
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


def table(figures: dict[str, Any]) -> str:
  """Formats the result of `measure` as a text table."""
  parts = {
    name: figures["seconds_per_tick"][name] for name in PARTS if name in figures["seconds_per_tick"]
  }
  games = figures["games"]
  total = parts["loop"]["median"] if "loop" in parts else float("nan")
  lines = [
    f"{figures['device']}, {figures['devices']} device(s), {games} environments, "
    f"{figures['simulations']} simulations, "
    f"{figures['updates_per_tick']:g} gradient steps of {figures['batch']} examples a tick",
    f"{'part':20} {'ms a tick':>10} {'least':>8} {'most':>8} {'steps/s':>10} {'of the loop':>12}",
  ]
  for name, part in parts.items():
    median, least, most = (part[key] for key in ("median", "least", "most"))
    share = f"{median / total:12.0%}" if "loop" in parts else ""
    lines.append(
      f"{PARTS[name]:20} {1e3 * median:10.2f} {1e3 * least:8.2f} {1e3 * most:8.2f} "
      f"{games / median:10,.0f} {share}"
    )
  inner = ["search", "replay", *(["learner"] if figures["updates_per_tick"] else [])]
  if parts.keys() >= {"without_emulators", "loop", *inner}:
    rest = parts["without_emulators"]["median"] - sum(parts[name]["median"] for name in inner)
    lines.insert(-1, f"{'  rest':20} {1e3 * rest:10.2f} {'':8} {'':8} {'':10} {rest / total:12.0%}")
  meaning = (
    "emulators + network"
    if figures["device"].lower() == "cpu"
    else "the slower of emulators and network"
  )
  for key, words in {
    "efficiency": f"efficiency: {{}} of the ideal, {meaning}",
    "feed": "feed: {} of the speed of the loop without emulators",
    "environment_ratio": "environment layer: {} of the speed of the emulators alone",
    "tree_share": "tree operations: {} of the time of the search",
  }.items():
    if key in figures:
      values = figures[key]
      lines.append(
        words.format(f"{values['median']:.3f} ({values['least']:.3f} to {values['most']:.3f})")
      )
  return "\n".join([*lines, *(loop_lines(figures) if "loop" in parts else [])])


def loop_lines(figures: dict[str, Any]) -> list[str]:
  """The lines below the table, about the loop alone."""
  lines = [
    f"{figures['env_steps_per_second']:,.0f} env steps/s, {figures['frames_per_second']:,.0f} "
    "frames/s, "
    f"{figures['simulations_per_second']:,.0f} simulations/s, {figures['updates_per_second']:,.2f} "
    "updates/s, "
    f"{figures['samples_per_second']:,.0f} samples/s",
    f"{figures['achieved_flops_per_second'] / 1e9:,.1f} GFLOP/s; matrix products alone reach "
    f"{figures['peak_flops_per_second'] / 1e9:,.1f} GFLOP/s",
    f"{figures['bytes_per_example']:,.0f} bytes per example, temporary memory "
    f"{figures['memory']['temporary_bytes'] / 2**20:,.1f} MiB, "
    f"compiled in {figures['compile_seconds']:.1f} s",
  ]
  return [*lines, *profile.lines(figures.get("costs", []))]


if __name__ == "__main__":
  cli.run(main)
