"""Writes and reads pytrees of arrays with orbax; no other module knows it."""

import errno
import logging
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

ERRORS = (OSError, ValueError)  # of writing and reading: orbax reports a full disk as a ValueError
_ITEMS = ("learner", "local", "replay", "actions", "progress")


class Writer:
  """Writes checkpoints into a folder, each into one named by its number.

  It deletes what a killed process left incomplete there, and the oldest checkpoints.

  Args:
    folder: is made if it does not exist.
    keep: number of newest checkpoints to keep.
  """

  def __init__(self, folder: Path, keep: int):
    silence()
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep, enable_async_checkpointing=True, cleanup_tmp_directories=True, create=True
    )
    self._folder = folder
    self._manager = ocp.CheckpointManager(folder, options=options, item_names=_ITEMS)
    # Orbax deletes incomplete checkpoints in a thread that `close` does not wait for. Without
    # this wait, a process that ends soon would print a traceback.
    if clearing := getattr(self._manager, "_cleanup_tmp_directory_future", None):
      clearing.result()

  def save(self, number: int, progress: dict[str, Any], **items: Any) -> None:
    """Starts to write a checkpoint; the arrays may be donated as soon as this returns.

    Args:
      number: of the checkpoint.
      progress: a dictionary that can be written as JSON.
      **items: pytrees of arrays.

    Raises:
      OSError: it cannot be written, or there is one with a larger number.
    """
    arrays = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
    everything = ocp.args.Composite(progress=ocp.args.JsonSave(progress), **arrays)
    if not self._manager.save(number, args=everything):
      raise OSError(errno.EEXIST, "there is one of more steps")
    if jax.default_backend() == "cpu":
      # On the CPU orbax writes the arrays without copying them first. Until it has finished, XLA
      # could not update them in place and would copy them.
      self.wait()

  def wait(self) -> None:
    """Waits until everything is written; raises what the background write has raised."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits, and ends orbax's threads."""
    self._manager.close()


def drafts(folder: Path) -> list[Path]:
  """The folders of checkpoints whose writing has not been completed."""
  return list(folder.glob("*.orbax-checkpoint-tmp"))


def discard_drafts(folder: Path) -> None:
  """Deletes the folders of checkpoints whose writing was given up.

  Orbax writes all arrays at the same time. When one fails, nothing waits for the others, whose
  files may appear until a moment later, in a folder that they make anew.
  """
  for _ in range(20):
    found = drafts(folder)
    if not found:
      return
    for draft in found:
      shutil.rmtree(draft, ignore_errors=True)
    time.sleep(0.1)


def progress(folder: Path) -> Path:
  """The file that has the `progress` of a checkpoint, as JSON."""
  return folder / "progress" / "metadata"


def metadata(folder: Path) -> Any:
  """What a folder of one item has: a pytree with shapes in place of arrays."""
  return ocp.StandardCheckpointHandler().metadata(epath.Path(folder)).tree


def restore(folder: Path, tree: Any) -> Any:
  """Reads an item.

  Args:
    folder: of the item.
    tree: arrays, or `jax.ShapeDtypeStruct` with shardings, in the structure that was saved.
  """
  with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
    return reader.restore(folder, args=ocp.args.StandardRestore(jax.tree.map(_abstract, tree)))


def reason(error: Exception) -> str:
  """What the operating system said, in the message of an error of it or of orbax's storage."""
  code = re.search(r"os_error_code='(\d+)'", str(error))
  if code:
    return os.strerror(int(code[1]))
  return getattr(error, "strerror", None) or str(error).partition("\n")[0]


def silence() -> None:
  """Suppresses the tracebacks that Python prints, from here to its end, of work that orbax gave up.

  Orbax reads and writes all arrays at the same time. When one fails, the others go on, but nothing
  waits for them, and nothing could catch their errors. Asyncio logs them, where there are several.
  """
  logging.getLogger("asyncio").addFilter(_waited_for)
  before = sys.unraisablehook

  def hook(unraisable: Any) -> None:
    text = f"{unraisable.object!r} {unraisable.exc_value}"
    if "_read_array" not in text and "Event loop is closed" not in text:
      before(unraisable)

  sys.unraisablehook = hook


def _waited_for(record: logging.LogRecord) -> bool:
  """Whether a message of asyncio is not about an array that orbax gave up."""
  text = logging.Formatter().format(record)  # with the traceback
  return "exception was never retrieved" not in text or "orbax" not in text


def _abstract(x: Any) -> Any:
  if isinstance(x, jax.Array) or hasattr(x, "sharding"):
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
  return x
