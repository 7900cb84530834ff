"""TensorBoard events: one file a run, without what came after the checkpoint."""

import errno
import json
import pathlib
import struct

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from muzero_jax.runs import events, jsonl, rollback
from muzero_jax.runs.journal import Journal
from muzero_jax.runs.metrics import Reporter
from muzero_jax.runs.progress import Screen


def written(folder: pathlib.Path) -> list[Event]:
  """The events in the only file there is: records of a length, a checksum, data and a checksum."""
  (path,) = folder.glob("events.out.tfevents.*")
  data, events = path.read_bytes(), []
  while data:
    (length,) = struct.unpack("<Q", data[:8])
    events.append(Event.FromString(data[12 : 12 + length]))
    data = data[16 + length :]
  return events


def reporter(folder: pathlib.Path, start: int, **facts) -> Reporter:
  facts = dict(simulations=1, frames=1, devices=1, updates=0, skipped=0, pending={}) | facts
  return Reporter(folder, screen=Screen(1000, start), start=start, **facts)


def test_one_file_without_what_came_after_the_checkpoint(tmp_path):
  """Rows of 10, 20 and 30 steps, then a start at 20: the file has the rows of 10 and 20 and those
  written from then on, at the times at which the run was 1 and 2 seconds old.
  """
  for start in (0, 20):
    for steps in (10, 20, 30):
      if start < steps:
        row = {"env_steps": steps, "seconds": steps / 10, "loss/total": steps + start / 100}
        jsonl.append(tmp_path / "metrics.jsonl", row | {"note": "text"})
    rollback.forget(tmp_path, 20)
    with reporter(tmp_path, 20, seconds=2.0) as begun:
      begun.env_steps = 40
      begun.write()
  found = written(tmp_path)
  assert found[0].file_version == "brain.Event:2"
  session = [event for event in found if event.HasField("session_log")]
  assert [(event.step, event.session_log.status) for event in session] == [(0, SessionLog.START)]
  losses = [(e.step, e.wall_time, v) for e in found for v in e.summary.value]
  losses = [(step, time, v.simple_value) for step, time, v in losses if v.tag == "loss/total"]
  assert [(step, value) for step, _, value in losses] == [(10, 10), (20, 20)]
  assert losses[1][1] - losses[0][1] == pytest.approx(1.0, abs=1e-3)
  steps = [e.step for e in found for v in e.summary.value if v.tag == "env_steps"]
  assert steps == [10, 20, 40]
  lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
  assert [json.loads(line)["env_steps"] for line in lines] == [10, 20, 40]


def test_events_begin_anew_after_a_failure(tmp_path, monkeypatch):
  """While the disk is full no events are written, which is said once; in the end all are there."""
  said = []
  writer = events.Events(tmp_path, 0, 0.0, said.append)
  journal = Journal(tmp_path / "metrics.jsonl", said.append)

  def add(env_steps):
    row = {"env_steps": env_steps, "seconds": 1.0}
    journal.append(row)
    writer.add(row)

  def full(_):
    raise OSError(errno.ENOSPC, "No space left on device")

  add(10)
  with monkeypatch.context() as disk:
    disk.setattr(events.EventsWriter, "flush", full)
    add(20)
    add(30)
  assert len(said) == 1 and "TensorBoard's events" in said[0] and "No space left" in said[0]
  add(40)
  writer.close()
  (path,) = tmp_path.glob("events.*")
  rows = jsonl.read(tmp_path / "metrics.jsonl")
  assert [row["env_steps"] for row in rows] == [10, 20, 30, 40]
  assert path.read_bytes().count(b"env_steps") == 4
