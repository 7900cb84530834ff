"""Checkpoints that are written in the background, as on accelerators, and fail there."""

import errno
import os

from muzero_jax.runs.storage import Writer


def unawaited(monkeypatch) -> None:
  """Training does not wait for the writes, which the CPU does otherwise."""
  save, wait = Writer.save, Writer.wait

  def saving(writer, *words, **items):
    monkeypatch.setattr(Writer, "wait", lambda writer: None)
    try:
      save(writer, *words, **items)
    finally:
      monkeypatch.setattr(Writer, "wait", wait)

  monkeypatch.setattr(Writer, "save", saving)


def failing(monkeypatch, *numbers: int) -> None:
  """The first write of these checkpoints finds the disk full; the next `wait` raises that."""
  save, wait, left = Writer.save, Writer.wait, set(numbers)
  errors: list[OSError] = []

  def saving(writer, number, *words, **items):
    if number not in left:
      return save(writer, number, *words, **items)
    left.remove(number)
    errors.append(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))

  def waiting(writer):
    wait(writer)
    if errors:
      raise errors.pop()

  monkeypatch.setattr(Writer, "save", saving)
  monkeypatch.setattr(Writer, "wait", waiting)
