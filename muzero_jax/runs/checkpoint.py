"""Saves and restores checkpoints with orbax.

Checkpoints are written in the background. An interrupted write never leaves an incomplete
checkpoint that could be restored. A checkpoint that was damaged later is recognized by the digests
of its files, or because it cannot be read, and the one before it is used.
"""

import contextlib
import dataclasses
import json
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath

from muzero_jax.config import ConfigError
from muzero_jax.runs import digest

T = TypeVar("T")

_ITEMS = ("learner", "local", "replay", "progress")
# Paths of leaves that checkpoints of earlier versions lack. When such a checkpoint is restored,
# these leaves keep their initial values.
_ADDED = ("learner/statistics/", "learner/skipped")


class Damaged(Exception):
  """A checkpoint cannot be used. The message says what is wrong with it, in a few words."""


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
    self._manager: ocp.CheckpointManager | None = None
    self.newest: int | None = None  # agent steps of the checkpoint that was loaded or saved last
    self._sealing: threading.Thread | None = None  # computes the digests of the last one saved
    self._written = threading.Event()

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *_: Any) -> None:
    self.close()

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

  def latest(self) -> int | None:
    """The agent steps of the newest checkpoint, whole or damaged, or None."""
    return next(iter(self.steps()), None)

  def load(
    self,
    read: Callable[["Saved"], T],
    items: tuple[str, ...] = (),
    quiet: bool = False,
    retries: int = 10,
  ) -> T | None:
    """Calls `read` with the newest checkpoint that is whole.

    For each damaged one a line is printed. Once a whole one has been read, the damaged ones are
    moved to `workdir/damaged`, unless this is read-only. All that `read` restores is from the same
    checkpoint: where another process deletes it meanwhile, `read` is called again with a newer one.

    Args:
      read: restores what it needs from the checkpoint. It may be called several times.
      items: the items that `read` needs; (): all. Damage to other items does not matter.
      quiet: print nothing.
      retries: how often to begin again because a newer checkpoint has appeared.

    Returns:
      What `read` returned, or None where there is no checkpoint.

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
        result = read(saved)
      except Damaged as error:
        if retries and set(self.steps()) - set(found):  # it may have been deleted to make room
          return self.load(read, items, quiet, retries - 1)
        damaged[step] = str(error)
        continue
      self._set_aside(damaged, step, quiet)
      self.newest = step
      return result
    reasons = "; ".join(f"{step}: {reason}" for step, reason in damaged.items())
    raise ConfigError(
      f"{self.folder}: none of the checkpoints can be used ({reasons}). Put a copy of one there, "
      "or name another --workdir to start anew."
    )

  def _set_aside(self, damaged: dict[int, str], used: int, quiet: bool) -> None:
    """Names the damaged checkpoints, and moves them out of the way unless this is read-only.

    Raises:
      ConfigError: one cannot be moved; orbax would save nothing as long as it is there.
    """
    for step, reason in damaged.items():
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
    self, env_steps: int, progress: dict[str, Any], learner: Any, local: Any, replay: Any = None
  ) -> None:
    """Starts to save a checkpoint; does nothing if the newest one has the same agent steps.

    The arrays may be donated as soon as this method returns. The digests are computed in the
    background afterwards.

    Args:
      env_steps: agent steps so far, the checkpoint's name.
      progress: a dictionary that can be written as JSON.
      learner: pytree of the state that is equal on all devices: parameters, optimizer, counters.
      local: pytree of the state that differs between devices, without the replay.
      replay: pytree of the replay, or None to leave it out.
    """
    if self.newest == env_steps:
      return
    items = dict(
      learner=ocp.args.StandardSave(learner),
      local=ocp.args.StandardSave(local),
      progress=ocp.args.JsonSave(progress),
    )
    if replay is not None:
      items["replay"] = ocp.args.StandardSave(replay)
    manager = self._opened()
    self._wait(manager)
    manager.save(env_steps, args=ocp.args.Composite(**items))
    if jax.default_backend() == "cpu":
      # On the CPU orbax writes the arrays without copying them first. Until it has finished, XLA
      # could not update them in place and would copy them.
      manager.wait_until_finished()
    self.newest = env_steps
    self._sealing = threading.Thread(target=self._seal, args=(self.folder / str(env_steps),))
    self._sealing.start()

  def _opened(self) -> ocp.CheckpointManager:
    """Orbax's manager, which is made before the first save: damaged checkpoints are gone by then.

    It deletes what a killed process left incomplete.
    """
    if self._manager is None:
      _silence_orbax()
      options = ocp.CheckpointManagerOptions(
        max_to_keep=self._keep,
        enable_async_checkpointing=True,
        cleanup_tmp_directories=True,
        create=True,
      )
      self._manager = ocp.CheckpointManager(self.folder, options=options, item_names=_ITEMS)
      # Orbax deletes incomplete checkpoints in a thread that `close` does not wait for. Without
      # this wait, a process that ends soon would print a traceback.
      if clearing := getattr(self._manager, "_cleanup_tmp_directory_future", None):
        clearing.result()
    return self._manager

  def _seal(self, folder: Path) -> None:
    """Adds the digests to a checkpoint, once orbax has written it and given it its name.

    A checkpoint without digests can be used, too: so that what fails here is not an error.
    """
    while not folder.exists() and not self._written.wait(0.05):
      pass
    with contextlib.suppress(OSError):
      digest.write(folder)

  def _wait(self, manager: ocp.CheckpointManager) -> None:
    """Waits until everything is written, and the digests, too."""
    try:
      manager.wait_until_finished()
    finally:
      self._written.set()
      if self._sealing:
        self._sealing.join()
      self._sealing = None
      self._written.clear()

  def wait(self) -> None:
    """Waits until everything is written; raises what the background write has raised."""
    if self._manager:
      self._wait(self._manager)

  def give_up(self) -> None:
    """After a save that failed: forgets its errors, and removes what takes space of it."""
    manager, self._manager = self._manager, None
    if manager:
      for finish in (lambda: self._wait(manager), manager.close):
        with contextlib.suppress(Exception):
          finish()
    self.newest = self.latest()
    for draft in self.folder.glob("*.orbax-checkpoint-tmp"):
      shutil.rmtree(draft, ignore_errors=True)

  def close(self) -> None:
    """Waits until everything is written."""
    if self._manager:
      self._wait(self._manager)
      self._manager.close()
      self._manager = None


@dataclasses.dataclass(frozen=True)
class Saved:
  """One checkpoint. What is read from it raises `Damaged` where it cannot be read."""

  folder: Path

  @property
  def env_steps(self) -> int:
    """The agent steps at which it was saved."""
    return int(self.folder.name)

  def check(self, items: tuple[str, ...] = ()) -> None:
    """Compares the files with their digests; checkpoints of earlier versions have none.

    Args:
      items: the items to look at; (): all.

    Raises:
      Damaged: something is missing or has changed since it was saved.
    """
    try:
      flaw = digest.flaw(self.folder, items)
      missing = [x for x in items or ("learner", "local", "progress") if not self.has(x)]
    except OSError as error:
      raise Damaged(f"it cannot be read: {error.strerror}") from error
    if flaw or missing:
      raise Damaged(flaw or f"there is no {missing[0]} in it")

  def progress(self) -> dict[str, Any]:
    """The dictionary that was saved as `progress`."""
    with self._reading("progress"):
      found = json.loads((self.folder / "progress" / "metadata").read_text())
      return {
        **found,
        "seconds": float(found["seconds"]),
        "pending": {name: (float(x), float(w)) for name, (x, w) in found["pending"].items()},
      }

  def restore(self, **abstract: Any) -> dict[str, Any]:
    """Restores items.

    Args:
      **abstract: for each item, a pytree of arrays or of `jax.ShapeDtypeStruct` with shardings, in
        the structure and shapes that were saved.

    Returns:
      A dictionary of the restored items.

    Raises:
      Damaged: an item cannot be read.
      ConfigError: the checkpoint has other shapes, so it is of another network, game or number of
        environments.
    """
    return {name: self._restore(name, tree) for name, tree in abstract.items()}

  def _restore(self, name: str, tree: Any) -> Any:
    if not self.fits(name, tree):
      raise ConfigError(
        f"The checkpoint in {self.folder} does not fit these settings: its {name} has other "
        "shapes, so it is of another network, "
        "game or number of games. Use the settings that the run was started with (config.json), "
        "or another --workdir."
      )
    with self._reading(name):
      known = _without(tree, set(_shapes(tree)) - set(_shapes(self._metadata(name))))
      with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        found = reader.restore(
          self.folder / name, args=ocp.args.StandardRestore(jax.tree.map(_abstract, known))
        )
      given, got = ([x.dtype for x in jax.tree.leaves(t)] for t in (known, found))
      if given != got:  # without a part of its metadata, a random key is restored as numbers
        raise TypeError("its arrays have other types")
      return _filled(tree, found)

  def has(self, item: str) -> bool:
    """Whether it has this item."""
    return (self.folder / item).is_dir()

  def fits(self, item: str, tree: Any) -> bool:
    """Whether it has this item, and with the shapes of `tree`."""
    if not self.has(item):
      return False
    with self._reading(item):
      saved = _shapes(self._metadata(item))
    return saved == {
      name: shape
      for name, shape in _shapes(tree).items()
      if name in saved or not name.startswith(_ADDED)
    }

  def _metadata(self, item: str) -> Any:
    """The metadata of an item: a pytree with shapes in place of arrays."""
    return ocp.StandardCheckpointHandler().metadata(epath.Path(self.folder / item)).tree

  @contextlib.contextmanager
  def _reading(self, item: str) -> Iterator[None]:
    """Within this context, errors mean that the item is damaged.

    Not where the files are as they were saved, nor where memory is short: then the error is another
    one, and is passed on.
    """
    try:
      yield
    except (MemoryError, jax.errors.JaxRuntimeError):
      raise
    except Exception as error:
      flaw = digest.flaw(self.folder)
      if not flaw and digest.exists(self.folder):
        raise
      _silence_orbax()
      text = " ".join(str(error).split())[:80]
      raise Damaged(flaw or f"its {item} cannot be read: {text or type(error).__name__}") from error


def _silence_orbax() -> None:
  """Suppresses the tracebacks that Python prints, until it ends, of work that orbax gave up.

  Orbax reads and writes all arrays at the same time. When one fails, the others go on without
  anyone who waits for them, and their errors have no one to be raised to.
  """
  before = sys.unraisablehook

  def hook(unraisable: Any) -> None:
    text = f"{unraisable.object!r} {unraisable.exc_value}"
    if "_read_array" not in text and "Event loop is closed" not in text:
      before(unraisable)

  sys.unraisablehook = hook


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  """Maps the path of every leaf to its shape.

  Paths do not depend on whether a node is a dataclass, a tuple or a dictionary, because orbax's
  metadata has dictionaries in place of dataclasses.
  """

  def shape(leaf: Any) -> tuple[int, ...]:
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return tuple((jax.random.key_data(leaf) if is_key else leaf).shape)

  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {_name(path): shape(leaf) for path, leaf in leaves}


def _without(tree: Any, names: set[str], path: str = "") -> Any:
  """Removes the leaves with these paths from a tree.

  A dataclass that contains a removed leaf becomes a dictionary; all other parts of the tree stay as
  they are.
  """
  if not names:
    return tree
  if dataclasses.is_dataclass(tree):
    tree = {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}
  if not isinstance(tree, dict):
    return tree
  inner = {key: (value, f"{path}{key}") for key, value in tree.items()}
  missing = {
    key
    for key, (_, name) in inner.items()
    if any(x == name or x.startswith(f"{name}/") for x in names)
  }
  kept = {
    key: _without(value, names, f"{name}/") if key in missing else value
    for key, (value, name) in inner.items()
  }
  return {
    key: value
    for key, value in kept.items()
    if inner[key][1] not in names and not (key in missing and value == {})
  }


def _filled(tree: Any, found: Any) -> Any:
  """Replaces the leaves of `tree` by those of `found` with the same path, where there are any."""
  leaves = {_name(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(found)[0]}
  return jax.tree_util.tree_map_with_path(lambda path, leaf: leaves.get(_name(path), leaf), tree)


def _name(path: Any) -> str:
  """Formats a leaf's path: "learner/params/model/...", for dataclasses and dictionaries alike."""
  return "/".join(re.findall(r"\w+", jax.tree_util.keystr(path)))


def _abstract(x: Any) -> Any:
  if isinstance(x, jax.Array) or hasattr(x, "sharding"):
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
  return x
