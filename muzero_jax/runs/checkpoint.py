"""Saves and restores checkpoints with orbax.

Checkpoints are written in the background. An interrupted write never leaves an incomplete
checkpoint that could be restored.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from etils import epath

from muzero_jax.config import ConfigError

_ITEMS = ("learner", "local", "replay", "progress")
# Paths of leaves that checkpoints of earlier versions lack. When such a checkpoint is restored,
# these leaves keep their initial values.
_ADDED = ("learner/statistics/",)


class Checkpoints:
  """The checkpoints in `workdir/checkpoints`, named by agent steps.

  A context manager: on exit it waits until everything is written.

  Args:
    workdir: the run's folder.
    keep: number of newest checkpoints to keep; older ones are deleted.
    read_only: never write or delete, so that a run that is still training is not disturbed.
  """

  def __init__(self, workdir: Path, keep: int = 2, read_only: bool = False):
    self.folder = Path(workdir).resolve() / "checkpoints"
    options = ocp.CheckpointManagerOptions(
      max_to_keep=None if read_only else keep,
      enable_async_checkpointing=True,
      cleanup_tmp_directories=not read_only,
      create=not read_only,
      read_only=read_only,
    )
    self._manager = ocp.CheckpointManager(self.folder, options=options, item_names=_ITEMS)
    # Orbax deletes incomplete checkpoints in a thread that `close` does not wait for. Without this
    # wait, a process that ends soon would print a traceback.
    if clearing := getattr(self._manager, "_cleanup_tmp_directory_future", None):
      clearing.result()

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *_: Any) -> None:
    self.close()

  def latest(self) -> int | None:
    """The agent steps of the newest checkpoint, or None."""
    return self._manager.latest_step()

  def save(
    self, env_steps: int, progress: dict[str, Any], learner: Any, local: Any, replay: Any = None
  ) -> None:
    """Starts to save a checkpoint; does nothing if the newest one has the same agent steps.

    The arrays may be donated as soon as this method returns.

    Args:
      env_steps: agent steps so far, the checkpoint's name.
      progress: a dictionary that can be written as JSON.
      learner: pytree of the state that is equal on all devices: parameters, optimizer, counters.
      local: pytree of the state that differs between devices, without the replay.
      replay: pytree of the replay, or None to leave it out.
    """
    if self.latest() == env_steps:
      return
    items = dict(
      learner=ocp.args.StandardSave(learner),
      local=ocp.args.StandardSave(local),
      progress=ocp.args.JsonSave(progress),
    )
    if replay is not None:
      items["replay"] = ocp.args.StandardSave(replay)
    self._manager.save(env_steps, args=ocp.args.Composite(**items))
    if jax.default_backend() == "cpu":
      # On the CPU orbax writes the arrays without copying them first. Until it has finished, XLA
      # could not update them in place and would copy them.
      self._manager.wait_until_finished()

  def progress(self) -> dict[str, Any]:
    """The dictionary `progress` of the newest checkpoint."""
    return self._restore(progress=ocp.args.JsonRestore())["progress"]

  def restore(self, **abstract: Any) -> dict[str, Any]:
    """Restores items of the newest checkpoint.

    Args:
      **abstract: for each item, a pytree of arrays or of `jax.ShapeDtypeStruct` with shardings, in
        the structure and shapes that were saved.

    Returns:
      A dictionary of the restored items.

    Raises:
      ConfigError: the checkpoint has other shapes, so it is of another network, game or number of
        environments.
    """
    for name, tree in abstract.items():
      if not self.fits(name, tree):
        raise ConfigError(
          f"The checkpoint in {self.folder} does not fit these settings: its {name} has other "
          "shapes, so it is of another network, "
          "game or number of games. Use the settings that the run was started with (config.json), "
          "or another --workdir."
        )
    trees = {
      name: _without(tree, set(_shapes(tree)) - set(_shapes(self._saved(name))))
      for name, tree in abstract.items()
    }
    found = self._restore(
      **{
        name: ocp.args.StandardRestore(jax.tree.map(_abstract, tree))
        for name, tree in trees.items()
      }
    )
    return {name: _filled(tree, found[name]) for name, tree in abstract.items()}

  def has(self, item: str) -> bool:
    """Whether the newest checkpoint has this item."""
    return (self.folder / str(self.latest()) / item).exists()

  def fits(self, item: str, tree: Any) -> bool:
    """Whether the newest checkpoint has this item, and with the shapes of `tree`."""
    if not self.has(item):
      return False
    saved = _shapes(self._saved(item))
    return saved == {
      name: shape
      for name, shape in _shapes(tree).items()
      if name in saved or not name.startswith(_ADDED)
    }

  def _saved(self, item: str) -> Any:
    """The metadata of an item of the newest checkpoint: a pytree with shapes in place of arrays."""
    return (
      ocp.StandardCheckpointHandler()
      .metadata(epath.Path(self.folder / str(self.latest()) / item))
      .tree
    )

  def _restore(self, **targets: Any) -> dict[str, Any]:
    return dict(self._manager.restore(self.latest(), args=ocp.args.Composite(**targets)))

  def wait(self) -> None:
    """Waits until everything is written; raises what the background write has raised."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits until everything is written, and closes the manager."""
    self._manager.wait_until_finished()
    self._manager.close()


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
