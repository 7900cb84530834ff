"""Writes the metrics of a run as TensorBoard events."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from muzero_jax.config import ConfigError
from muzero_jax.runs import jsonl


class Events:
  """The only file of TensorBoard events in a run's folder; it begins with rows of metrics.jsonl.

  The files of earlier starts are deleted: they may have rows from after the checkpoint. A
  TensorBoard that has read them drops what it has of this run. If the file cannot be written, a
  line says so once; with the next row the file is begun again, with all rows.

  Args:
    folder: the run's folder, whose metrics.jsonl ends at the checkpoint.
    start: agent steps done; rows up to here are written at once.
    seconds: wall-clock time of the run so far, from which the times of these rows are computed.
    say: prints a line.
  """

  def __init__(self, folder: Path, start: int, seconds: float, say: Callable[[str], None] = print):
    self._folder, self._seconds, self._say = folder, seconds, say
    self._failed = False
    self._writer: EventsWriter | None = None
    self._try(lambda: self._begin(start))

  def add(self, row: dict[str, Any]) -> None:
    """Writes the numbers of a row of metrics."""

    def write() -> None:
      self._seconds = row["seconds"]
      if not self._writer:
        self._begin(row["env_steps"] - 1)
      self._write(row, time.time())

    self._try(write)

  def close(self) -> None:
    """Closes the file."""
    if self._writer:
      with contextlib.suppress(OSError):
        self._writer.close()
    self._writer = None

  def _try(self, action: Callable[[], None]) -> None:
    try:
      action()
      if self._writer:
        self._writer.flush()
      self._failed = False
    except (OSError, ConfigError) as error:
      self.close()
      if not self._failed:
        reason = getattr(error, "strerror", None) or error
        place = f"TensorBoard's events in {self._folder}"
        self._say(f"warning: {place} cannot be written ({reason}); training goes on.")
      self._failed = True

  def _begin(self, last: int) -> None:
    """Begins the file with the rows of up to `last` agent steps."""
    for path in self._folder.glob("events.out.tfevents.*"):
      path.unlink()
    self._writer = writer = EventsWriter(str(self._folder / "events"))
    started = SessionLog(status=SessionLog.START)
    now = time.time()
    writer.write_event(Event(wall_time=now, step=0, session_log=started))
    for row in jsonl.read(self._folder / "metrics.jsonl"):
      if row.get("env_steps", 0) <= last:
        self._write(row, now)

  def _write(self, row: dict[str, Any], now: float) -> None:
    assert self._writer
    then = now - max(self._seconds - row.get("seconds", self._seconds), 0)
    for name, value in row.items():
      if jsonl.is_number(value):
        values = summary.scalar(name, value)
        event = Event(wall_time=then, step=row.get("env_steps", 0), summary=values)
        self._writer.write_event(event)
