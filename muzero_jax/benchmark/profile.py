"""Finds what a compiled program spends its time on.

The events of JAX's profiler are summed by the JAX operations that their instructions come from.
"""

import collections
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Instructions that contain others. Their time is that of their contents.
NESTED = ("while", "conditional", "call")
LARGEST = 10  # number of operations that are reported
# Parts of an operation's path that name control flow or transformations, not the operation itself.
PLUMBING = re.compile(
  r"(?:jit|pjit|shard_map|while|body|cond|closed_call|branch_\d+_fun|custom_[jv]vp_call"
  r"|rematted_computation|jvp\(\)).*"
)


def of(work: Any, ticks: int) -> list[dict[str, Any]]:
  """Profiles a workload and returns its most expensive operations.

  Args:
    work: a `workloads.Work` with a compiled program.
    ticks: ticks that one call of it does.

  Returns:
    Dictionaries, the most expensive first: "operation", its name; "share", its fraction of the time
    of all operations; and "seconds_per_tick", summed over threads and devices.
  """
  import jax

  jax.block_until_ready(work.before())
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      jax.block_until_ready(work.execute())
    (file,) = Path(folder).rglob("*.xplane.pb")
    data = jax.profiler.ProfileData.from_file(str(file))
    events = [
      (event.name, event.duration_ns / 1e9)
      for plane in data.planes
      for line in plane.lines
      for event in line.events
    ]
  return largest(events, operations(work.compiled.as_text()), ticks)


def operations(program: str) -> dict[str, str]:
  """Maps the instructions in a compiled program's text to the operations that they come from.

  Instructions that contain others (`NESTED`) are left out.
  """
  found = {}
  for name, rest in re.findall(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*)$", program, re.MULTILINE):
    code = re.search(r"(?:^|\s)([a-z][\w\-]*)\(", rest)
    if code and code[1] not in NESTED:
      origin = re.search(r'op_name="([^"]*)"', rest)
      found[name] = readable(origin[1]) if origin else code[1]
  return found


def readable(path: str) -> str:
  """Shortens an operation's path to its last four parts, without those that match `PLUMBING`.

  For example, jit(f)/while/body/jvp(Encoder)/Dense_0/dot_general becomes
  jvp(Encoder)/Dense_0/dot_general.
  """
  words = [word for word in path.split("/") if not PLUMBING.fullmatch(word)]
  return "/".join(words[-4:]) or path


def largest(
  events: Iterable[tuple[str, float]], names: dict[str, str], ticks: int
) -> list[dict[str, Any]]:
  """Sums the durations of events by operation, and returns the most expensive ones.

  Args:
    events: (instruction, seconds) pairs. Those of unknown instructions are ignored.
    names: instruction -> operation, from `operations`.
    ticks: ticks that the events are from.

  Returns:
    See `of`.
  """
  seconds: dict[str, float] = collections.defaultdict(float)
  for instruction, duration in events:
    if instruction in names:
      seconds[names[instruction]] += duration
  total, order = sum(seconds.values()), sorted(seconds.items(), key=lambda pair: -pair[1])[:LARGEST]
  return [
    dict(operation=name, share=value / total, seconds_per_tick=value / ticks)
    for name, value in order
  ]


def lines(found: list[dict[str, Any]]) -> list[str]:
  """Formats the result of `of` as lines of text."""
  return [
    f"{cost['share']:6.1%} {1e3 * cost['seconds_per_tick']:9.2f} ms a tick  {cost['operation']}"
    for cost in found
  ]
