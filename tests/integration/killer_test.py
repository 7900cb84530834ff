"""A run that is killed again and again ends as one that is not; `tests.killer` in short."""

import numpy as np

from muzero_jax.runs import jsonl
from tests import killer


def test_killed_at_random_moments_a_run_ends_as_if_it_had_not_been(tmp_path):
  words = [*killer.SETTINGS, "--env_steps=16384"]
  killer.run(tmp_path / "whole", words)
  happened = killer.kill_and_finish(tmp_path / "killed", words, kills=3, seed=4, longest=3.0)
  assert happened.total() == 3
  whole, killed = killer.state(tmp_path / "whole"), killer.state(tmp_path / "killed")
  assert len(whole) > 50
  assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(whole, killed, strict=True))
  rows = [jsonl.read(tmp_path / name / "metrics.jsonl") for name in ("whole", "killed")]
  steps = [[row["env_steps"] for row in found] for found in rows]
  assert steps[1] == sorted(set(steps[1])) and set(steps[0]) <= set(steps[1])
  assert [row["loss/total"] for row in rows[0]][-1] > 0
