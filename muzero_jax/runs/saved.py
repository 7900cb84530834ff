"""One checkpoint: whether it is whole, whether it fits, and what is in it."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from muzero_jax.config import ConfigError
from muzero_jax.loop import Shared
from muzero_jax.networks.flat import as_vectors, by_array
from muzero_jax.runs import counted, digest, storage, trees, workdir

# Paths of leaves that checkpoints of earlier versions lack. When such a checkpoint is restored,
# these leaves keep their initial values.
_ADDED = ("learner/statistics/", "learner/skipped")


class Damaged(Exception):
  """A checkpoint cannot be used. The message says what is wrong with it, in a few words."""


def with_optimizer(shared: Shared, state: Any) -> Shared:
  """The same, with another state of the optimizer."""
  return dataclasses.replace(shared, learner=dataclasses.replace(shared.learner, opt_state=state))


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

    Nothing in it may be a symbolic link, whatever items are looked at: orbax would follow it.

    Args:
      items: the items to look at; (): all.

    Raises:
      Damaged: something is missing or has changed since it was saved.
    """
    try:
      flaw = digest.stray(self.folder) or digest.flaw(self.folder, items)
      missing = [x for x in items or ("learner", "local", "progress") if not self.has(x)]
    except OSError as error:
      raise Damaged(f"it cannot be read: {error.strerror}") from error
    if flaw or missing:
      raise Damaged(flaw or f"there is no {missing[0]} in it")
    if "progress" in (items or ("progress",)):
      # Checkpoints of earlier versions do not hold their name.
      steps = self.progress().get("env_steps", self.env_steps)
      if steps != self.env_steps:
        raise Damaged(f"it was saved at {steps} steps, and renamed")

  def progress(self) -> dict[str, Any]:
    """The dictionary that was saved as `progress`."""
    with self._reading("progress"):
      content = workdir.read(storage.progress(self.folder))
    try:
      return counted.read(content, self.env_steps, needs_begun=self.has("actions"))
    except ValueError as error:
      raise Damaged(f"its progress {error}") from error

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

  def learner(self, shared: Shared) -> Shared:
    """Restores the replicated state. That of earlier versions has the optimizer's state by array.

    Args:
      shared: an initial state, which has the shapes and shardings.

    Raises:
      Damaged, ConfigError: as `restore` does.
    """
    if not self.fits("learner", shared):
      params, state = shared.learner.params, shared.learner.opt_state
      earlier = with_optimizer(shared, by_array(state, params))
      if self.fits("learner", earlier):
        found = self.restore(learner=earlier)["learner"]
        return with_optimizer(found, as_vectors(state, found.learner.opt_state, params))
    return self.restore(learner=shared)["learner"]

  def _restore(self, name: str, tree: Any) -> Any:
    if not self.fits(name, tree):
      raise ConfigError(
        f"The checkpoint in {self.folder} does not fit these settings: its {name} has other "
        "shapes, so it is of another network, game or number of environments. Use the settings "
        "that the run was started with (config.json), or another --workdir."
      )
    with self._reading(name):
      saved = trees.shapes(storage.metadata(self.folder / name))
      known = trees.without(tree, set(trees.shapes(tree)) - set(saved))
      found = storage.restore(self.folder / name, known)
      given, got = ([x.dtype for x in jax.tree.leaves(t)] for t in (known, found))
      if given != got:  # without a part of its metadata, a random key is restored as numbers
        raise TypeError("its arrays have other types")
      return trees.filled(tree, found)

  def has(self, item: str) -> bool:
    """Whether it has this item."""
    return (self.folder / item).is_dir()

  def shapes(self, item: str) -> dict[str, tuple[int, ...]]:
    """Maps the path of every array of an item to its shape."""
    with self._reading(item):
      return trees.shapes(storage.metadata(self.folder / item))

  def fits(self, item: str, tree: Any) -> bool:
    """Whether it has this item, and with the shapes of `tree`."""
    if not self.has(item):
      return False
    saved = self.shapes(item)
    return saved == {
      name: shape
      for name, shape in trees.shapes(tree).items()
      if name in saved or not name.startswith(_ADDED)
    }

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
      storage.silence()
      text = " ".join(str(error).split())[:80]
      raise Damaged(flaw or f"its {item} cannot be read: {text or type(error).__name__}") from error
