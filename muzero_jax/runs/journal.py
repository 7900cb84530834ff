"""Appends rows to a .jsonl file, also while its disk is full."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from muzero_jax.config import StorageError
from muzero_jax.runs import jsonl


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
      jsonl.append(self._path, *self.waiting)
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
    if lost := self.lost():
      raise StorageError(lost)

  def lost(self) -> str:
    """Appends the rows that are waiting. A sentence if they still cannot be written, or ""."""
    self.append()
    if not self.waiting:
      return ""
    return (
      f"{self._path} cannot be written ({self._reason}): its last {len(self.waiting)} line(s) are "
      "lost."
    )
