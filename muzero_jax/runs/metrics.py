"""Reports the metrics of a run: metrics.jsonl, TensorBoard events, and the terminal.

On a terminal there is a progress bar; where the output is redirected, lines are printed instead.
"""

import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from muzero_jax.config import ConfigError, StorageError
from muzero_jax.diagnostics import derived
from muzero_jax.runs import workdir
from muzero_jax.runs.progress import Screen
from muzero_jax.types import Metrics

Sums = dict[str, tuple[float, float]]  # name -> (sum, weight)

# Metrics that are shown while a run goes on, and their labels: the mean return of the games that
# ended, the mean return so far of those that did not, and the loss.
_SHOWN = {"episode/return": "return", "episode/unfinished": "unfinished", "loss/total": "loss"}


def sums(metrics: Metrics) -> Sums:
  """Sums metrics over devices, on the host; waits for the program that computes them.

  Args:
    metrics: name -> f32[D, 2], (sum, weight) on each of D devices.

  Returns:
    name -> (sum, weight).
  """
  host = {name: np.asarray(x, np.float64).sum(0) for name, x in jax.device_get(metrics).items()}
  return {name: (float(total), float(weight)) for name, (total, weight) in host.items()}


def add(a: Sums, b: Sums) -> Sums:
  """Adds the sums and weights of `b` to those of `a`; a name may be in one of them only."""
  pairs = {name: (a.get(name, (0.0, 0.0)), b.get(name, (0.0, 0.0))) for name in {**a, **b}}
  return {name: (one[0] + two[0], one[1] + two[1]) for name, (one, two) in pairs.items()}


def means(total: Sums) -> dict[str, float]:
  """sum / weight of every metric whose weight is not 0."""
  return {name: s / w for name, (s, w) in total.items() if w > 0}


def append(path: Path, *rows: dict[str, Any]) -> None:
  """Appends rows to a .jsonl file.

  It is a single write, so that a killed process leaves at most one incomplete line. After an
  incomplete line the rows start on a new one. What was written only in part is removed again.

  Raises:
    OSError: the file cannot be written, or the disk is full.
  """
  text = "".join(json.dumps(row) + "\n" for row in rows).encode()
  file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
  try:
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
      text = b"\n" + text
    if os.write(file, text) < len(text):
      os.ftruncate(file, size)
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
  finally:
    os.close(file)


def is_number(value: Any) -> bool:
  """Whether a JSON value is a number, also NaN or infinite; true and false are not."""
  if isinstance(value, int):
    return not isinstance(value, bool) and abs(value) < 1e100  # others are too large for a float
  return isinstance(value, float)


def _is_finite(value: Any) -> bool:
  return is_number(value) and abs(value) < 1e100


def _is_count(value: Any) -> bool:
  return isinstance(value, int) and is_number(value) and 0 <= value < 2**63


def _is_interval(value: Any) -> bool:
  pair = isinstance(value, list) and len(value) == 2
  return value is None or (pair and all(map(_is_finite, value)))


# Fields whose values the program computes with, and what these must be.
_FIELDS: dict[str, Callable[[Any], bool]] = {
  "env_steps": _is_count,
  "frames": _is_count,
  "updates": _is_count,
  "seconds": lambda value: _is_finite(value) and 0 <= value < 1e12,
  "cut_off": _is_count,
  "stuck": _is_count,
  "episodes": lambda value: _is_count(value) and value > 0,
  "task": lambda value: isinstance(value, str),
  "protocol": lambda value: isinstance(value, str),
  "agent": lambda value: isinstance(value, str),
  "mean": _is_finite,
  "median": _is_finite,
  "iqm": _is_finite,
  "hns": _is_finite,
  "level": _is_finite,
  "returns": lambda value: isinstance(value, list) and all(map(_is_finite, value)),
  "lengths": lambda value: isinstance(value, list) and all(map(_is_finite, value)),
  "intervals": lambda value: isinstance(value, dict) and all(map(_is_interval, value.values())),
}


def read(path: Path) -> list[dict[str, Any]]:
  """The rows of a .jsonl file; [] when there is no file.

  Lines that cannot be used are left out, and their number is printed once: those that are no JSON
  object, and those with a field of another type than in `_FIELDS`. A last line without an end is
  one that is being written.

  Raises:
    ConfigError: there is something else than a file in its place, or it cannot be read.
  """
  try:
    if path.exists() and not path.is_file():
      raise ConfigError(f"{path}: is no file; remove it, or name another folder.")
    text = path.read_bytes()
  except FileNotFoundError:
    return []
  except OSError as error:
    raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
  *lines, unfinished = text.split(b"\n")
  rows = [_row(line) for line in lines if line.strip()]
  bad = sum(row is None for row in rows)
  if bad and (path, bad) not in _said:
    _said.add((path, bad))
    noun = "line is" if bad == 1 else "lines are"
    print(f"note: {path}: {bad} unreadable {noun} left out.", file=sys.stderr)
  return [row for row in [*rows, _row(unfinished)] if row is not None]


_said: set[tuple[Path, int]] = set()  # files, and the numbers of bad lines that were printed


def _row(line: bytes) -> dict[str, Any] | None:
  """The object in one line of a .jsonl file, or None."""
  try:
    row = json.loads(line.decode())
    if b"\\u" in line:
      json.dumps(row, ensure_ascii=False).encode()  # fails for half of a surrogate pair
  except (ValueError, RecursionError):
    return None
  valid = isinstance(row, dict) and all(
    check(row[name]) for name, check in _FIELDS.items() if name in row
  )
  return row if valid else None


def forget(path: Path, after: int) -> None:
  """Removes the rows of a .jsonl file with more than `after` env_steps, and unreadable lines.

  A resumed run calls it to remove the rows that were written after its checkpoint was saved.

  Raises:
    OSError: the file cannot be written.
  """
  if path.exists():
    kept = [row for row in read(path) if row.get("env_steps", 0) <= after]
    workdir.write(path, "".join(json.dumps(row) + "\n" for row in kept))


class Journal:
  """A .jsonl file that a run appends to, also while the disk is full or the folder is away.

  Rows that cannot be written are kept and written with the next ones. That is printed once, and
  again when they could be written.

  Args:
    path: the file.
    say: prints a line.
  """

  def __init__(self, path: Path, say: Callable[[str], None] = print):
    self._path, self._say = path, say
    self.waiting: list[dict[str, Any]] = []  # rows that could not be written yet
    self._reason = ""  # why the last attempt failed

  def append(self, *rows: dict[str, Any]) -> None:
    """Appends the rows that are waiting, then these."""
    self.waiting += rows
    if not self.waiting:
      return
    try:
      append(self._path, *self.waiting)
    except OSError as error:
      if not self._reason:
        self._say(
          f"warning: {self._path} cannot be written ({error.strerror}); that is tried again with "
          "its next line."
        )
      self._reason = str(error.strerror)
      return
    if self._reason:
      self._say(f"{self._path} is written again; no line is missing.")
    self.waiting, self._reason = [], ""

  def close(self) -> None:
    """Appends the rows that are waiting.

    Raises:
      StorageError: they still cannot be written.
    """
    self.append()
    if self.waiting:
      lost = len(self.waiting)
      raise StorageError(
        f"{self._path} cannot be written ({self._reason}): its last {lost} line(s) are lost."
      )


class Events:
  """The only file of TensorBoard events in a run's folder, begun with the rows of metrics.jsonl.

  The files of earlier starts are deleted: they may have rows from after the checkpoint. A
  TensorBoard that has read them drops what it has of this run. Where the file cannot be written, a
  line says so once; it is begun anew with the next row, and then lacks nothing.

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
    for row in read(self._folder / "metrics.jsonl"):
      if row.get("env_steps", 0) <= last:
        self._write(row, now)

  def _write(self, row: dict[str, Any], now: float) -> None:
    assert self._writer
    then = now - max(self._seconds - row.get("seconds", self._seconds), 0)
    for name, value in row.items():
      if is_number(value):
        values = summary.scalar(name, value)
        event = Event(wall_time=then, step=row.get("env_steps", 0), summary=values)
        self._writer.write_event(event)


class Reporter:
  """Accumulates the metrics of training and writes their means as rows.

  A round is the part of training that the device does in one call of the compiled program; `add` is
  called after each. `write` is called whenever a row is due.

  Args:
    folder: the run's folder, where metrics.jsonl and the TensorBoard events are written; None: they
      are not, because another process writes them.
    total: agent steps at the end of the run.
    start: agent steps done so far; not 0 when the run is resumed.
    simulations: search simulations per agent step.
    frames: emulator frames per agent step.
    devices: number of devices that report metrics.
    updates: gradient steps done so far.
    skipped: gradient steps that diverged and were skipped so far.
    seconds: wall-clock time of the run so far.
    pending: sums accumulated since the last row.
  """

  def __init__(
    self,
    folder: Path | None,
    *,
    total: int,
    start: int,
    simulations: int,
    frames: int,
    devices: int,
    updates: int,
    skipped: int,
    seconds: float,
    pending: Sums,
  ):
    self._screen = Screen(total, start)
    self._journal = self._events = None
    self._simulations, self._frames, self._devices = simulations, frames, devices
    self.env_steps, self.updates, self.seconds, self.pending = (
      start,
      updates,
      seconds,
      dict(pending),
    )
    self.skipped = skipped
    # Agent steps, gradient steps and seconds of training since the last row.
    self._since = (0, 0, 0.0)
    self._clock = time.perf_counter()
    if folder:
      forget(folder / "metrics.jsonl", start)
      self._journal = Journal(folder / "metrics.jsonl", self.say)
      self._events = Events(folder, start, self.seconds, self.say)
    self._seen: dict[str, float] = {}  # the newest values of the metrics in `_SHOWN`

  def __enter__(self) -> "Reporter":
    return self

  def __exit__(self, *_: Any) -> None:
    if self._journal:
      self._journal.append()
    self._screen.close()
    if self._events:
      self._events.close()

  def add(self, env_steps: int, metrics: Metrics) -> None:
    """Accumulates the metrics of the round that ended at `env_steps`; waits for it to finish."""
    new = sums(metrics)
    # The loss has weight 1 per gradient step and device. Without gradient steps it is absent.
    updates = round(new.get("loss/total", (0, 0))[1] / self._devices)
    self.pending = add(self.pending, new)
    now = time.perf_counter()
    since = (env_steps - self.env_steps, updates, now - self._clock)
    self._since = tuple(a + b for a, b in zip(self._since, since, strict=True))
    self.updates += updates
    self.skipped += round(new.get("learner/skipped", (0, 0))[0] / self._devices)
    self.seconds += now - self._clock
    self._clock = now
    self.env_steps = env_steps
    self._screen.advance(env_steps, since[2])
    self._seen |= {name: x for name, x in means(new).items() if name in _SHOWN}
    self._show()

  def resume_clock(self) -> None:
    """Excludes the time since the last round from the rates of training, but not from `seconds`.

    Called after something other than training, such as a save or an evaluation.
    """
    now = time.perf_counter()
    self.seconds += now - self._clock
    self._clock = now

  def write(self) -> dict[str, float]:
    """Writes a row with the means since the last one, resets the sums, and returns the row."""
    steps, updates, seconds = self._since
    rate = steps / max(seconds, 1e-9)
    row = {
      "env_steps": self.env_steps,
      "frames": self.env_steps * self._frames,
      "updates": self.updates,
      "seconds": round(self.seconds, 3),
      "env_steps_per_second": rate,
      "simulations_per_second": rate * self._simulations,
      "updates_per_second": updates / max(seconds, 1e-9),
      **means(self.pending),
      **derived(self.pending),
    }
    row = {
      name: float(f"{value:.6g}") if isinstance(value, float) else value
      for name, value in row.items()
    }
    if self._journal and self._events:
      self._journal.append(row)
      self._events.add(row)
      self._print(row)
    self.pending, self._since = {}, (0, 0, 0.0)
    return row

  def _show(self) -> None:
    """Draws the newest values; a game that ended counts until the next one ends."""
    known = {label: self._seen[name] for name, label in _SHOWN.items() if name in self._seen}
    self._screen.show(known | {"gradient steps": self.updates})

  def _print(self, row: dict[str, float]) -> None:
    """Prints a row where there is no terminal."""
    if self._screen.lines:
      shown = {label: row[name] for name, label in _SHOWN.items() if name in row}
      shown |= {"steps/s": row["env_steps_per_second"]}
      facts = [f"{label} {value:.4g}" for label, value in shown.items()]
      facts += [self._screen.left] if self._screen.left else []
      print(
        f"{row['env_steps']:>10,} steps  {row['seconds']:>8.1f} s  {'  '.join(facts)}", flush=True
      )

  def enter(self, phase: str, sentence: str = "") -> None:
    """Says what is waited for from here on: `Screen.enter`."""
    self._screen.enter(phase, sentence)

  def say(self, text: str) -> None:
    """Prints a line, on a terminal above what is drawn."""
    self._screen.say(text)
