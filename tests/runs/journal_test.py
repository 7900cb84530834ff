"""A journal on a disk that is full for a while: what it keeps, and what it says."""

import errno
import os

import pytest

from muzero_jax.config import StorageError
from muzero_jax.runs import jsonl
from muzero_jax.runs.journal import Journal


def test_a_journal_says_once_that_it_waits_and_then_writes_everything(tmp_path, monkeypatch):
  path, said = tmp_path / "rows.jsonl", []
  journal = Journal(path, said.append)

  def steps():
    return [row["env_steps"] for row in jsonl.read(path)]

  journal.append({"env_steps": 1})

  def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  with monkeypatch.context() as context:
    context.setattr(os, "write", full)
    for env_steps in (2, 3):
      journal.append({"env_steps": env_steps})
    assert len(said) == 1 and "cannot be written (No space left on device)" in said[0]
    with pytest.raises(StorageError, match=r"its last 2 line\(s\) are lost"):
      journal.close()
  journal.append({"env_steps": 4})
  assert steps() == [1, 2, 3, 4] and "no line is missing" in said[1]
  journal.close()
  assert steps() == [1, 2, 3, 4] and len(said) == 2
