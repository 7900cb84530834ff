"""The parts that `launch.benchmark` measures, and the results as text."""

from typing import Any

from muzero_jax import flags
from muzero_jax.benchmark import profile
from muzero_jax.config import ConfigError

# The parts: a method of `workloads.Parts` -> the part's name in the table. A part that is indented
# is contained in the one above.
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


def chosen(parts: str, *, profiled: bool = False) -> list[str]:
  """The parts that --parts asks for, in the order of `PARTS`.

  Args:
    parts: names with commas between; "": all.
    profiled: whether the costs of the loop are asked for, too.

  Raises:
    ConfigError: there is no such part, or the loop is not among the parts and its costs are asked
      for.
  """
  asked = flags.chosen("parts", "part", parts, PARTS)
  if profiled and "loop" not in asked:
    raise ConfigError(
      "--profile lists the costs of the loop, which --parts leaves out: add loop to --parts."
    )
  return [name for name in PARTS if name in asked]


def table(figures: dict[str, Any]) -> str:
  """Formats the result of `figures.measure` as a text table."""
  measured = figures["seconds_per_tick"]
  parts = {name: measured[name] for name in PARTS if name in measured}
  head = (
    f"{figures['device']}, {figures['devices']} device(s), {figures['total_envs']} environments, "
    f"{figures['simulations']} simulations, "
    f"{figures['updates_per_tick']:g} gradient steps of {figures['batch']} examples a tick"
  )
  columns = f"{'part':20} {'ms a tick':>10} {'least':>8} {'most':>8} {'steps/s':>10}"
  rows = _rows(parts, figures["total_envs"], bool(figures["updates_per_tick"]))
  lines = [head, f"{columns} {'of the loop':>12}", *rows, *_ratios(figures)]
  return "\n".join([*lines, *(_loop(figures) if "loop" in parts else [])])


def _rows(parts: dict[str, dict[str, float]], num_envs: int, learns: bool) -> list[str]:
  """A line for each part, and before the loop's the rest of it that is in no part."""
  total = parts["loop"]["median"] if "loop" in parts else float("nan")
  lines = []
  for name, part in parts.items():
    median, least, most = (part[key] for key in ("median", "least", "most"))
    share = f"{median / total:12.0%}" if "loop" in parts else ""
    lines.append(
      f"{PARTS[name]:20} {1e3 * median:10.2f} {1e3 * least:8.2f} {1e3 * most:8.2f} "
      f"{num_envs / median:10,.0f} {share}"
    )
  inner = ["search", "replay", *(["learner"] if learns else [])]
  if parts.keys() >= {"without_emulators", "loop", *inner}:
    rest = parts["without_emulators"]["median"] - sum(parts[name]["median"] for name in inner)
    lines.insert(-1, f"{'  rest':20} {1e3 * rest:10.2f} {'':8} {'':8} {'':10} {rest / total:12.0%}")
  return lines


def _ratios(figures: dict[str, Any]) -> list[str]:
  shared = figures["device"].lower() == "cpu"
  ideal = "emulators + network" if shared else "the slower of emulators and network"
  sentences = {
    "efficiency": f"efficiency: {{}} of the ideal, {ideal}",
    "feed": "feed: {} of the speed of the loop without emulators",
    "environment_ratio": "environment layer: {} of the speed of the emulators alone",
    "tree_share": "tree operations: {} of the time of the search",
  }
  return [
    text.format("{median:.3f} ({least:.3f} to {most:.3f})".format(**figures[name]))
    for name, text in sentences.items()
    if name in figures
  ]


def _loop(figures: dict[str, Any]) -> list[str]:
  """The lines below the table, about the loop alone."""
  lines = [
    f"{figures['env_steps_per_second']:,.0f} env steps/s, "
    f"{figures['frames_per_second']:,.0f} frames/s, "
    f"{figures['simulations_per_second']:,.0f} simulations/s, "
    f"{figures['updates_per_second']:,.2f} updates/s, "
    f"{figures['samples_per_second']:,.0f} samples/s",
    f"{figures['achieved_flops_per_second'] / 1e9:,.1f} GFLOP/s; matrix products alone reach "
    f"{figures['peak_flops_per_second'] / 1e9:,.1f} GFLOP/s",
    f"{figures['bytes_per_example']:,.0f} bytes per example, temporary memory "
    f"{figures['memory']['temporary_bytes'] / 2**20:,.1f} MiB, "
    f"compiled in {figures['compile_seconds']:.1f} s",
  ]
  return [*lines, *profile.lines(figures.get("costs", []))]
