"""The checkpoints of a run: finds those that can be used, and saves new ones.

Checkpoints are written in the background. An interrupted write never leaves an incomplete
checkpoint that could be restored. A checkpoint that was damaged later is recognized by the digests
of its files, or because it cannot be read, and the one before it is used.
"""

import contextlib
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from muzero_jax.config import ConfigError, StorageError
from muzero_jax.device import distributed
from muzero_jax.runs import digest, storage
from muzero_jax.runs.saved import Damaged, Saved
from muzero_jax.types import T


class Checkpoints:
  """The checkpoints in `workdir/checkpoints`, named by agent steps.

  A context manager: on exit it waits until everything is written.

  Args:
    workdir: the run's folder.
    keep: number of newest checkpoints to keep; older ones are deleted.
    read_only: never write, rename or delete, so that a run that is still training is not disturbed.
  """

  def __init__(self, workdir: Path, keep: int = 2, read_only: bool = False):
    self.folder = Path(workdir).resolve() / "checkpoints"
    self._keep, self._read_only = keep, read_only
    self._writer: storage.Writer | None = None
    self.current: int | None = None  # agent steps of the checkpoint that was loaded or saved last
    self._sealing: threading.Thread | None = None  # computes the digests of the last one saved
    self._written = threading.Event()

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, kind: Any, *_: Any) -> None:
    try:
      self.close()
    except Exception as error:
      if not kind:
        raise
      # What is on its way says why the run ends.
      if not distributed.is_loss(error):
        print(f"warning: {storage.reason(error)}", flush=True)

  def steps(self) -> list[int]:
    """The agent steps of all checkpoints, whole or damaged, from the newest to the oldest.

    Raises:
      ConfigError: `checkpoints` cannot be read, or is not a folder.
    """
    try:
      names = [path.name for path in self.folder.iterdir()]
    except FileNotFoundError:
      return []
    except OSError as error:
      raise ConfigError(
        f"{self.folder}: cannot be read ({error.strerror}); name the folder of a run whose "
        "checkpoints can."
      ) from error
    return sorted(int(name) for name in names if re.fullmatch(r"0|[1-9][0-9]*", name))[::-1]

  def newest(self) -> int | None:
    """The agent steps of the newest checkpoint, whole or damaged, or None."""
    return next(iter(self.steps()), None)

  def load(
    self,
    restore: Callable[["Saved"], T],
    items: tuple[str, ...] = (),
    quiet: bool = False,
    retries: int = 10,
  ) -> T | None:
    """Calls `restore` with the newest checkpoint that is whole.

    For each damaged one a line is printed. Once a whole one has been read, the damaged ones are
    moved to `workdir/damaged`, unless this is read-only. All that `restore` reads is from the same
    checkpoint: where another process deletes it meanwhile, it is called again with a newer one.

    Args:
      restore: restores what it needs from the checkpoint. It may be called several times.
      items: the items that `restore` needs; (): all. Damage to other items does not matter.
      quiet: print nothing.
      retries: how often to begin again because a newer checkpoint has appeared.

    Returns:
      What `restore` returned, or None where there is no checkpoint.

    Raises:
      ConfigError: there are checkpoints, but all of them are damaged.
    """
    found = self.steps()
    if not found:
      return None
    damaged: dict[int, str] = {}
    for step in found:
      saved = Saved(self.folder / str(step))
      try:
        saved.check(items)
        result = restore(saved)
      except Damaged as error:
        if retries and set(self.steps()) - set(found):  # it may have been deleted to make room
          return self.load(restore, items, quiet, retries - 1)
        damaged[step] = str(error)
        continue
      self._set_aside(damaged, step, quiet)
      self.current = step
      return result
    reasons = "; ".join(f"{step}: {reason}" for step, reason in damaged.items())
    raise ConfigError(
      f"{self.folder}: none of the checkpoints can be used ({reasons}). Put a copy of one there, "
      "or name another --workdir to start anew."
    )

  def _set_aside(self, damaged: dict[int, str], used: int, quiet: bool) -> None:
    """Names the damaged checkpoints, and moves them out of the way unless this is read-only.

    Of several processes, only the first one does.

    Raises:
      ConfigError: one cannot be moved; orbax would save nothing as long as it is there.
    """
    for step, reason in damaged.items() if distributed.is_first() else ():
      place = self.folder / str(step)
      if self._read_only:
        if not quiet:
          print(f"{place} is damaged ({reason}) and is skipped; using {used}", flush=True)
        continue
      aside = self.folder.parent / "damaged"
      names = [str(step), *(f"{step}-{i}" for i in range(2, 1000))]
      target = next(aside / name for name in names if not (aside / name).exists())
      try:
        aside.mkdir(exist_ok=True)
        place.rename(target)
      except OSError as error:
        raise ConfigError(
          f"{place} is damaged ({reason}) and cannot be moved to {target} ({error.strerror}); move "
          "it away."
        ) from error
      print(f"{place} is damaged ({reason}) and was moved to {target}; using {used}", flush=True)

  def save(
    self,
    env_steps: int,
    progress: dict[str, Any],
    learner: Any,
    local: Any,
    replay: Any = None,
    actions: Any = None,
  ) -> None:
    """Starts to save a checkpoint; does nothing if the newest one has the same agent steps.

    The arrays may be donated as soon as this method returns. The digests are computed in the
    background afterwards.

    Args:
      env_steps: agent steps so far, the checkpoint's name.
      progress: a dictionary that can be written as JSON.
      learner: pytree of the replicated state: parameters, optimizer, gradient steps, ticks.
      local: pytree of the state that differs between devices, without the replay.
      replay: pytree of the replay, or None to leave it out.
      actions: pytree of the actions so far (`runs/actions.py`), or None to leave them out.
    """
    if self.current == env_steps:
      return
    # The writer is made before the first save: damaged checkpoints are gone by then.
    self._writer = self._writer or storage.Writer(self.folder, self._keep)
    self.wait()
    optional = {"replay": replay, "actions": actions}
    items = {name: tree for name, tree in optional.items() if tree is not None}
    self._writer.save(env_steps, progress, learner=learner, local=local, **items)
    self.current = env_steps
    if distributed.is_first():
      self._sealing = threading.Thread(target=self._seal, args=(self.folder / str(env_steps),))
      self._sealing.start()

  def _seal(self, folder: Path) -> None:
    """Adds the digests to a checkpoint, once it is written and has its name.

    A checkpoint without digests can be used, too, so a failure here is not an error.
    """
    while not folder.exists() and not self._written.wait(0.05):
      pass
    with contextlib.suppress(OSError):
      digest.write(folder)

  def wait(self) -> None:
    """Waits until everything is written, digests included.

    Raises:
      OSError: or another error that the background write has raised.
    """
    try:
      if self._writer:
        self._writer.wait()
    finally:
      self._written.set()
      if self._sealing:
        self._sealing.join()
      self._sealing = None
      self._written.clear()

  def give_up(self) -> None:
    """After a save that failed: forgets its errors, and removes its incomplete files."""
    writer = self._writer
    if writer:
      for finish in (self.wait, writer.close):
        with contextlib.suppress(Exception):
          finish()
    self._writer = None
    self.current = self.newest()
    storage.discard_drafts(self.folder)

  def problem(self, env_steps: int, error: Exception) -> str:
    """Says, without a full stop, that the checkpoint of so many agent steps cannot be saved."""
    return (
      f"the checkpoint at {env_steps:,} steps cannot be saved in {self.folder.parent} "
      f"({storage.reason(error)})"
    )

  def remedy(self) -> str:
    """Says what to do, once the run has ended, where the last checkpoint could not be saved."""
    newest = self.newest()
    if not newest:
      return "make room, and run the same command again, with --override_config: it begins anew."
    return f"make room, and run the same command again; it goes on from {newest:,} steps."

  def close(self) -> None:
    """Waits until everything is written.

    Raises:
      StorageError: the last checkpoint could not be written.
    """
    try:
      self.wait()
      if self._writer:
        self._writer.close()
    except storage.ERRORS as error:
      if distributed.is_loss(error):
        raise
      raise StorageError(f"{self.problem(self.current or 0, error)}: {self.remedy()}") from error
    self._writer = None
