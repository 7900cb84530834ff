"""What a run goes on from, with orbax: written in the background, complete or not there at all."""

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
# What checkpoints of earlier versions lack, by path within an item; it starts as in a new run.
_ADDED = ("learner/statistics/",)


class Checkpoints:
  """The checkpoints below `workdir/checkpoints`, by agent steps. A context: on leaving it, all is
  written.

  Args:
    workdir: of the run.
    keep: how many of the newest are kept.
    read_only: for who only looks, perhaps while the run goes on.
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
    # Closing does not wait for what clears away half-written checkpoints: a process that ends at
    # once would print a traceback.
    if clearing := getattr(self._manager, "_cleanup_tmp_directory_future", None):
      clearing.result()

  def __enter__(self) -> "Checkpoints":
    return self

  def __exit__(self, *_: Any) -> None:
    self.close()

  def latest(self) -> int | None:
    """The newest checkpoint's agent steps, or None."""
    return self._manager.latest_step()

  def save(
    self, env_steps: int, progress: dict[str, Any], learner: Any, local: Any, replay: Any = None
  ) -> None:
    """Starts to save; what is saved may be donated once this returns.

    Args:
      env_steps: the checkpoint's name.
      progress: plain numbers and strings.
      learner: pytree of what is the same on all devices: parameters, optimizer, counters.
      local: pytree of each device's state, without the replay.
      replay: pytree, or None to leave it out.
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
      # On the CPU orbax reads the arrays where they are: XLA would copy instead of updating them in
      # place meanwhile.
      self._manager.wait_until_finished()

  def progress(self) -> dict[str, Any]:
    """Of the newest checkpoint."""
    return self._restore(progress=ocp.args.JsonRestore())["progress"]

  def restore(self, **abstract: Any) -> dict[str, Any]:
    """Items of the newest checkpoint.

    Args:
      **abstract: name -> pytree of arrays or of `jax.ShapeDtypeStruct` with shardings, in the shape
        of what was saved.

    Raises:
      ConfigError: the checkpoint has other shapes, so it is of another network or of another number
        of games.
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
    """Whether the newest checkpoint holds anything under this name."""
    return (self.folder / str(self.latest()) / item).exists()

  def fits(self, item: str, tree: Any) -> bool:
    """Whether the newest checkpoint holds, under this name, what has the shapes of `tree`."""
    if not self.has(item):
      return False
    saved = _shapes(self._saved(item))
    return saved == {
      name: shape
      for name, shape in _shapes(tree).items()
      if name in saved or not name.startswith(_ADDED)
    }

  def _saved(self, item: str) -> Any:
    """What the newest checkpoint holds under a name, as a pytree of shapes, without reading it."""
    return (
      ocp.StandardCheckpointHandler()
      .metadata(epath.Path(self.folder / str(self.latest()) / item))
      .tree
    )

  def _restore(self, **targets: Any) -> dict[str, Any]:
    return dict(self._manager.restore(self.latest(), args=ocp.args.Composite(**targets)))

  def close(self) -> None:
    """Waits until all is written."""
    self._manager.wait_until_finished()
    self._manager.close()


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  """Path -> shape of every leaf, the same for dataclasses, tuples and the dictionaries that
  metadata comes in.
  """

  def shape(leaf: Any) -> tuple[int, ...]:
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return tuple((jax.random.key_data(leaf) if is_key else leaf).shape)

  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {_name(path): shape(leaf) for path, leaf in leaves}


def _without(tree: Any, names: set[str], path: str = "") -> Any:
  """The tree without the leaves of these names, its dataclasses as dictionaries; the tree itself
  where there are none to leave out.
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
  """The tree with the leaves that were found, by name; its own where there are none."""
  leaves = {_name(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(found)[0]}
  return jax.tree_util.tree_map_with_path(lambda path, leaf: leaves.get(_name(path), leaf), tree)


def _name(path: Any) -> str:
  """Of a leaf, the same for dataclasses, tuples and dictionaries: "learner/params/model/..."."""
  return "/".join(re.findall(r"\w+", jax.tree_util.keystr(path)))


def _abstract(x: Any) -> Any:
  if isinstance(x, jax.Array) or hasattr(x, "sharding"):
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
  return x
