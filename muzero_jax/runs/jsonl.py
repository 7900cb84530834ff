"""Rows of numbers in .jsonl files: appends, reads and removes them.

A file may have been written by a process that was killed, or changed by hand: what cannot be used
is left out.
"""

import errno
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from muzero_jax.config import ConfigError
from muzero_jax.runs import workdir


def read(path: Path) -> list[dict[str, Any]]:
  """The rows of a .jsonl file; [] when there is no file.

  Lines that cannot be used are left out, and their number is printed once: those that are not a
  JSON object, and those with a field of another type than in `FIELDS`. A last line without a
  newline may still be being written: if it cannot be used, it is left out, and not counted.

  Raises:
    ConfigError: it is not a file, or it cannot be read.
  """
  *lines, unfinished = _text(path).split(b"\n")
  rows = [parsed(line) for line in lines if line.strip()]
  _say_how_many_are_bad(path, sum(row is None for row in rows))
  return [row for row in [*rows, parsed(unfinished)] if row is not None]


def forget(path: Path, after: int) -> None:
  """Removes the rows of a .jsonl file with more than `after` env_steps, and unreadable lines.

  The file is written only if there are any.

  Raises:
    OSError: the file cannot be written.
  """
  if path.exists():
    kept = [row for row in read(path) if row.get("env_steps", 0) <= after]
    text = "".join(json.dumps(row) + "\n" for row in kept).encode()
    if text != path.read_bytes():
      workdir.write(path, text)


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
  return isinstance(value, int | float) and not isinstance(value, bool)


def _text(path: Path) -> bytes:
  """The contents of a file; b"" when there is none."""
  try:
    if os.path.lexists(path) and not workdir.is_own_file(path):
      raise ConfigError(f"{path}: is not a file; remove it, or name another folder.")
    return path.read_bytes()
  except FileNotFoundError:
    return b""
  except OSError as error:
    raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error


_said: set[tuple[Path, int]] = set()  # files, and the numbers of bad lines that were printed


def _say_how_many_are_bad(path: Path, bad: int) -> None:
  if bad and (path, bad) not in _said:
    _said.add((path, bad))
    noun = "line is" if bad == 1 else "lines are"
    print(f"note: {path}: {bad} unreadable {noun} left out.", file=sys.stderr)


def parsed(line: bytes) -> dict[str, Any] | None:
  """The object in one line of a .jsonl file, or None."""
  try:
    row = json.loads(line.decode(), parse_int=_int, parse_float=_float)
    if b"\\u" in line:
      json.dumps(row, ensure_ascii=False).encode()  # fails for half of a surrogate pair
  except (ValueError, RecursionError):
    return None
  valid = isinstance(row, dict) and all(
    check(row[name]) for name, check in FIELDS.items() if name in row
  )
  return row if valid else None


def _float(text: str) -> float:
  """A number of a JSON text. No float32, and so no metric, reaches 1e100."""
  value = float(text)
  if abs(value) >= 1e100:
    raise ValueError(f"{text:.20}... is too large")
  return value


def _int(text: str) -> int | float:
  """An integer; a float where it has more than 64 bits."""
  value, exact = _float(text), int(text)
  return exact if abs(exact) < 2**63 else value


def _is_finite(value: Any) -> bool:
  return is_number(value) and math.isfinite(value)


def is_count(value: Any) -> bool:
  """Whether a JSON value is an integer of 0 or more."""
  return isinstance(value, int) and is_number(value) and value >= 0


def _is_interval(value: Any) -> bool:
  pair = isinstance(value, list) and len(value) == 2
  return value is None or (pair and all(map(_is_finite, value)))


# Fields whose values the program computes with, and what these must be.
FIELDS: dict[str, Callable[[Any], bool]] = {
  "env_steps": is_count,
  "frames": is_count,
  "updates": is_count,
  "seconds": lambda value: _is_finite(value) and 0 <= value < 1e12,
  "cut_off": is_count,
  "stuck": is_count,
  "episodes": lambda value: is_count(value) and value > 0,
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
