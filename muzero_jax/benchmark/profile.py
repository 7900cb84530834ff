"""What a compiled program spends its time on: the profiler's events, by the lines of the program
that they come from.
"""

import collections
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NESTED = ("while", "conditional", "call")  # their time is that of what they hold
LARGEST = 10
# Of an operation's path these say where the compiler put it, not what it is.
PLUMBING = re.compile(
  r"(?:jit|pjit|shard_map|while|body|cond|closed_call|branch_\d+_fun|custom_[jv]vp_call|rematted_computation|jvp\(\)).*"
)


def of(work: Any, ticks: int) -> list[dict[str, Any]]:
  """The largest costs of a `workloads.Work` of so many ticks.

  Returns:
    Dictionaries, largest first: "operation", "share" of the time of all operations, and
      "seconds_per_tick", summed over threads and
    devices.
  """
  import jax

  jax.block_until_ready(work.before())
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder):
      jax.block_until_ready(work.run())
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
  """Instruction -> what it does, of a compiled program's text; those that only hold others are left
  out.
  """
  found = {}
  for name, rest in re.findall(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*)$", program, re.MULTILINE):
    code = re.search(r"(?:^|\s)([a-z][\w\-]*)\(", rest)
    if code and code[1] not in NESTED:
      origin = re.search(r'op_name="([^"]*)"', rest)
      found[name] = readable(origin[1]) if origin else code[1]
  return found


def readable(path: str) -> str:
  """The last words of an operation's path: jit(f)/while/body/jvp(Encoder)/Dense_0/dot_general ->
  jvp(Encoder)/Dense_0/dot_general.
  """
  words = [word for word in path.split("/") if not PLUMBING.fullmatch(word)]
  return "/".join(words[-4:]) or path


def largest(
  events: Iterable[tuple[str, float]], names: dict[str, str], ticks: int
) -> list[dict[str, Any]]:
  """Sums up events (instruction, seconds) by what they do; events that are no instruction of the
  program do not count.
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
  """In words."""
  return [
    f"{cost['share']:6.1%} {1e3 * cost['seconds_per_tick']:9.2f} ms a tick  {cost['operation']}"
    for cost in found
  ]
