"""Files of rows: torn lines, lines of others, disks that are full, and what is said about it."""

import json
import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muzero_jax.config import ConfigError
from muzero_jax.runs import jsonl
from tests import fuzz
from tests.reporting.common import score

ROW = score(1.5, intervals={"mean": [1.0, 2.0], "hns": None}, level=0.95, seconds=3.0)


def steps(path) -> list[int]:
  return [row["env_steps"] for row in jsonl.read(path)]


def test_rows_after_a_torn_line_start_on_a_new_one(tmp_path, capsys):
  path = tmp_path / "rows.jsonl"
  jsonl.append(path, {"env_steps": 1})
  path.write_text(path.read_text() + '{"env_steps": 2, "lo')
  assert steps(path) == [1]
  assert capsys.readouterr().err == ""  # as far as a reader knows, it is being written
  jsonl.append(path, {"env_steps": 3}, {"env_steps": 4})
  assert steps(path) == steps(path) == [1, 3, 4]
  assert capsys.readouterr().err == f"note: {path}: 1 unreadable line is left out.\n"


def test_an_end_of_line_that_was_lost(tmp_path):
  """The last row is whole: it counts, and the next one does not continue it."""
  path = tmp_path / "rows.jsonl"
  path.write_text('{"env_steps": 1}')
  assert steps(path) == [1]
  jsonl.append(path, {"env_steps": 2})
  assert steps(path) == [1, 2]


@pytest.mark.parametrize(
  "line",
  [
    b"\xff\xfe",
    b"null",
    b"3",
    b"[1]",
    b'{"env_steps": "9"}',
    b'{"env_steps": -1}',
    b'{"env_steps": true}',
    b'{"env_steps": 1.5}',
    b'{"env_steps": 9, "mean": Infinity}',
    b'{"env_steps": 9, "mean": NaN}',
    b'{"env_steps": 9, "seconds": 1e300}',
    b'{"env_steps": 9, "loss": -1e308}',
    b'{"env_steps": 9, "more": {"loss": 1e400}}',
    b'{"env_steps": 9223372036854775808}',
    b'{"env_steps": 9, "returns": [null]}',
    b'{"env_steps": 9, "intervals": {"mean": [1]}}',
    b'{"env_steps": 9, "episodes": 0}',
    b'{"env_steps": 9, "task": "\\ud800"}',
    b'{"env_steps": ' + b"9" * 5000 + b"}",
    fuzz.DEEP,
  ],
  ids=lambda line: line[:30],
)
def test_lines_that_are_left_out(line, tmp_path, capsys):
  path = tmp_path / "rows.jsonl"
  path.write_bytes(b'{"env_steps": 1}\n' + line + b"\n\n" + line + b'\n{"env_steps": 2}\n')
  assert steps(path) == [1, 2]
  assert "2 unreadable lines are left out" in capsys.readouterr().err


@fuzz.fuzz
@given(st.lists(fuzz.lines(ROW), max_size=5))
def test_whatever_stands_in_a_file_of_rows(tmp_path, lines):
  """What is read is complete, of the right types, and equal after it was written again."""
  path = tmp_path / "rows.jsonl"
  path.write_bytes(b"\n".join(lines))
  rows = jsonl.read(path)
  assert all(isinstance(row, dict) for row in rows)
  assert all(abs(row["mean"]) < 1e100 for row in rows if "mean" in row)
  assert sum(row == ROW for row in rows) >= sum(line == json.dumps(ROW).encode() for line in lines)
  jsonl.append(path, ROW)
  assert jsonl.read(path)[-1] == ROW
  jsonl.forget(path, after=10**9)
  assert ROW in jsonl.read(path) and not list(tmp_path.glob(".*"))


def test_integers_of_more_than_64_bits_are_floats(tmp_path):
  """So that numpy and TensorBoard can take them."""
  path = tmp_path / "rows.jsonl"
  path.write_text('{"x": 18446744073709551616, "y": 9223372036854775807, "z": [-1e30, NaN]}\n')
  (row,) = jsonl.read(path)
  assert isinstance(row["x"], float) and row["x"] == 2.0**64
  assert isinstance(row["y"], int) and row["y"] == 2**63 - 1
  assert row["z"][0] == -1e30 and math.isnan(row["z"][1])


@pytest.mark.parametrize("link", [False, True])
def test_what_is_not_a_file_of_the_run_is_one_sentence(link, tmp_path):
  """A folder in its place, and a symbolic link to a file that is somewhere else."""
  if link:
    (tmp_path / "secret").write_text('{"env_steps": 1}\n')
    (tmp_path / "rows.jsonl").symlink_to(tmp_path / "secret")
  else:
    (tmp_path / "rows.jsonl").mkdir()
  with pytest.raises(ConfigError, match=r"rows\.jsonl: is not a file; remove it"):
    jsonl.read(tmp_path / "rows.jsonl")


def test_a_row_that_fits_only_in_part_leaves_nothing(tmp_path, monkeypatch):
  """The disk takes 5 bytes more: they are removed again, and the file is as before."""
  path = tmp_path / "rows.jsonl"
  jsonl.append(path, {"env_steps": 1})
  write = os.write
  monkeypatch.setattr(os, "write", lambda file, text: write(file, text[:5]))
  with pytest.raises(OSError, match="No space left"):
    jsonl.append(path, {"env_steps": 2})
  assert path.read_text() == '{"env_steps": 1}\n'


def test_metrics_after_the_checkpoint_are_forgotten(tmp_path):
  path = tmp_path / "metrics.jsonl"
  for steps in (10, 20, 30):
    jsonl.append(path, {"env_steps": steps})
  path.write_text(path.read_text() + '{"env_st')
  jsonl.forget(path, after=20)
  assert [row["env_steps"] for row in jsonl.read(path)] == [10, 20]
