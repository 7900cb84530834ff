"""Sums of metrics over rounds, and the memory held."""

import pathlib
from types import SimpleNamespace

import numpy as np
import pytest

from muzero_jax.runs import metrics
from tests.runs.events_test import reporter


def test_sums_of_rounds():
  """A name that only one round reports is kept; one without weight has no mean."""
  total = metrics.add(
    {"a": (1.0, 2.0), "c": (3.0, 4.0)}, {"a": (2.0, 2.0), "b": (0.0, 0.0), "d": (5.0, 1.0)}
  )
  assert metrics.means(total) == {"a": 0.75, "c": 0.75, "d": 5.0}


def test_a_row_of_the_log(tmp_path, capsys):
  """Half of 1,000 steps in 10 s: one rate, returns of whole and unfinished episodes, and the time
  left.
  """
  with reporter(tmp_path, 0, seconds=2.0) as begun:
    begun.env_steps, begun._since = 500, (500, 4, 10.0)
    begun.pending = {"episode/return": (6.0, 3.0), "episode/unfinished": (-2.0, 1.0)}
    begun.pending |= {"loss/total": (1.0, 2.0)}
    begun._screen.advance(500, 10.0)
    begun.write()
  row = "       500 steps       2.0 s  return 2  unfinished -2  loss 0.5  steps/s 50  10 s left\n"
  assert capsys.readouterr().out == row


def test_rows_that_are_lost_are_said(tmp_path, capsys):
  """The folder is away when the run ends."""
  with reporter(tmp_path, 0, seconds=2.0) as begun:
    begun._journal._path = tmp_path / "no" / "metrics.jsonl"
    begun._journal.append({"env_steps": 1})
  said = capsys.readouterr().out
  assert "its last 1 line(s) are lost." in said and said.count("warning") == 2


def test_memory_held_grows_with_what_is_held():
  before = metrics.held()["memory/host"]
  held = np.ones(2**25)  # 0.25 GiB, all of it written
  assert metrics.held()["memory/host"] - before == pytest.approx(0.25, abs=0.05)
  assert held[-1] == 1


def test_memory_of_devices_is_that_of_the_fullest(monkeypatch):
  def fake(stats):
    return SimpleNamespace(memory_stats=lambda: stats)

  devices = [fake({"bytes_in_use": 2**30}), fake({"bytes_in_use": 3 * 2**30}), fake(None)]
  monkeypatch.setattr(metrics.jax, "local_devices", lambda: devices)
  assert metrics.held()["memory/device"] == 3
  monkeypatch.setattr(metrics.jax, "local_devices", lambda: [fake(None)])
  monkeypatch.setattr(metrics, "STATM", pathlib.Path("/nowhere"))
  assert metrics.held() == {}
