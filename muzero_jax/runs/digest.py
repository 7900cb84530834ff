"""Digests of the files in a folder, by which damage to a checkpoint is recognized.

`write` computes the SHA-256 of every file and keeps them in digest.json in the folder; `flaw`
compares them with what is there.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from muzero_jax.runs.workdir import is_own_file

NAME = "digest.json"


def write(folder: Path) -> None:
  """Writes the digests of all files in `folder`, in one step: a kill leaves all of it or nothing.

  Raises:
    OSError: a file cannot be read, or digest.json cannot be written.
  """
  files = {name: _digest(path) for name, path in sorted(_files(folder).items())}
  draft = folder / f"{NAME}.tmp"
  with open(draft, "w") as file:
    json.dump({"sha256": files}, file, indent=1)
    file.flush()
    os.fsync(file.fileno())
  os.replace(draft, folder / NAME)


def exists(folder: Path) -> bool:
  """Whether the folder has digests; those written by earlier versions have none."""
  return os.path.lexists(folder / NAME)


def flaw(folder: Path, parts: Sequence[str] = ()) -> str:
  """What differs from the digests in `folder`, in words; "" if nothing does, or it has none.

  Args:
    folder: the folder.
    parts: names of the subfolders to compare; (): all files.
  """
  if not exists(folder):
    return ""
  if not is_own_file(folder / NAME):
    return f"{NAME} is not a file"
  try:
    files = json.loads((folder / NAME).read_text())["sha256"].items()
  except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
    return f"{NAME} cannot be read"
  there = _files(folder)  # nothing outside the folder is read, whatever digest.json names
  for name, digest in files:
    if parts and name.partition("/")[0] not in parts:
      continue
    if name not in there:
      return f"{name} is missing"
    try:
      if _digest(there[name]) != digest:
        return f"{name} has changed since it was saved"
    except OSError:
      return f"{name} cannot be read"
  return ""


def stray(folder: Path) -> str:
  """What in `folder`, itself included, is neither a file of its own nor a folder, in words; or "".

  Whoever reads the folder by its paths would follow a symbolic link to elsewhere, and would wait
  for ever at a pipe.

  Raises:
    OSError: the folder cannot be read.
  """
  for path in (folder, *folder.rglob("*")):
    if path.is_symlink() or not (is_own_file(path) or path.is_dir()):
      kind = "a symbolic link" if path.is_symlink() else "not a file"
      return f"{'it' if path == folder else path.relative_to(folder).as_posix()} is {kind}"
  return ""


def _files(folder: Path) -> dict[str, Path]:
  """The regular files in a folder and below it, by their names from there; no symbolic links."""
  return {
    path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if is_own_file(path)
  }


def _digest(path: Path) -> str:
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
