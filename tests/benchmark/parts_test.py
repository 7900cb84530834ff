"""The parts of a benchmark by name, and its table, from figures that the test makes up."""

import pytest

from muzero_jax.benchmark.parts import PARTS, chosen, table
from muzero_jax.config import ConfigError


def times(milliseconds):
  """Repeats of 90 to 110 % of the median."""
  seconds = milliseconds / 1000
  return {"median": seconds, "least": 0.9 * seconds, "most": 1.1 * seconds}


def test_parts_that_were_measured_alone():
  """16 environments, 8 ms for a tick: 2,000 steps/s. Without the loop there are no shares of it."""
  figures = {
    "device": "cpu",
    "devices": 2,
    "total_envs": 16,
    "simulations": 8,
    "updates_per_tick": 0.5,
    "batch": 64,
    "seconds_per_tick": {"search": times(8)},
    "tree_share": {"median": 0.25, "least": 0.2, "most": 0.3},
  }
  head, columns, search, tree = table(figures).splitlines()
  assert head == (
    "cpu, 2 device(s), 16 environments, 8 simulations, 0.5 gradient steps of 64 examples a tick"
  )
  assert columns.split() == "part ms a tick least most steps/s of the loop".split()
  assert search.split() == ["search", "8.00", "7.20", "8.80", "2,000"]
  assert tree == "tree operations: 0.250 (0.200 to 0.300) of the time of the search"


def test_the_rest_of_the_loop_is_what_no_part_has():
  """Of 10 ms without emulators, search 5, replay 1 and learner 3: 1 ms is left, 5 % of the loop's
  20 ms.
  """
  rate = dict.fromkeys(("env_steps", "frames", "simulations", "updates", "samples"), 1.0)
  parts = {"without_emulators": 10, "search": 5, "learner": 3, "replay": 1, "loop": 20}
  figures = {
    "device": "NVIDIA",
    "devices": 1,
    "total_envs": 10,
    "simulations": 8,
    "updates_per_tick": 1,
    "batch": 64,
    "bytes_per_example": 7000.0,
    "seconds_per_tick": {name: times(ms) for name, ms in parts.items()},
    "achieved_flops_per_second": 1e9,
    "peak_flops_per_second": 2e9,
    "memory": {"temporary_bytes": 2**20},
    "compile_seconds": 1.0,
    **{f"{name}_per_second": value for name, value in rate.items()},
  }
  lines = table(figures).splitlines()
  names = [line[:20].strip() for line in lines[2:8]]
  assert names == ["loop, no emulators", "search", "learner", "replay", "rest", "loop"]
  assert lines[6].split() == ["rest", "1.00", "5%"]
  assert lines[7].split() == ["loop", "20.00", "18.00", "22.00", "500", "100%"]


def test_parts_by_name():
  assert chosen("") == list(PARTS)
  assert chosen("tree, emulators") == ["emulators", "tree"]
  with pytest.raises(ConfigError, match=r"--parts=trees: .* loop"):
    chosen("trees")
  with pytest.raises(ConfigError, match="add loop to --parts"):
    chosen("tree", profiled=True)
