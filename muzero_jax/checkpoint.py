"""What a run goes on from, with orbax: written in the background, complete or not there at all."""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from muzero_jax.config import ConfigError

_ITEMS = ("learner", "local", "replay", "progress")


class Checkpoints:
  """The checkpoints below `workdir/checkpoints`, by agent steps."""

  def __init__(self, workdir: Path, keep: int = 2):
    self.folder = Path(workdir).resolve() / "checkpoints"
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, enable_async_checkpointing=True, cleanup_tmp_directories=True)
    self._manager = ocp.CheckpointManager(self.folder, options=options, item_names=_ITEMS)

  def latest(self) -> int | None:
    """The newest checkpoint's agent steps, or None."""
    return self._manager.latest_step()

  def save(self, env_steps: int, progress: dict[str, Any], learner: Any, local: Any, replay: Any = None) -> None:
    """Starts to save; what is saved may be donated once this returns.

    Args:
      env_steps: the checkpoint's name.
      progress: plain numbers and strings.
      learner: pytree of what is the same on all devices: parameters, optimiser, counters.
      local: pytree of each device's state, without the replay.
      replay: pytree, or None to leave it out.
    """
    if self.latest() == env_steps:
      return
    items = dict(learner=ocp.args.StandardSave(learner), local=ocp.args.StandardSave(local), progress=ocp.args.JsonSave(progress))
    if replay is not None:
      items["replay"] = ocp.args.StandardSave(replay)
    self._manager.save(env_steps, args=ocp.args.Composite(**items))
    if jax.default_backend() == "cpu":
      # On the CPU orbax reads the arrays where they are: XLA would copy instead of updating them in place meanwhile.
      self._manager.wait_until_finished()

  def progress(self) -> dict[str, Any]:
    """Of the newest checkpoint."""
    return self._restore(progress=ocp.args.JsonRestore())["progress"]

  def has_replay(self) -> bool:
    """Whether the newest checkpoint holds a replay."""
    return (self.folder / str(self.latest()) / "replay").exists()

  def restore(self, **abstract: Any) -> dict[str, Any]:
    """Items of the newest checkpoint.

    Args:
      **abstract: name -> pytree of arrays or of `jax.ShapeDtypeStruct` with shardings, in the shape of what was saved.

    Raises:
      ConfigError: the checkpoint has other shapes, so it is of another network or of another number of games.
    """
    targets = {name: ocp.args.StandardRestore(jax.tree.map(_abstract, tree)) for name, tree in abstract.items()}
    try:
      return self._restore(**targets)
    except (ValueError, KeyError, TypeError) as error:
      raise ConfigError(
        f"The checkpoint in {self.folder} does not fit these settings: it is of another network, game or number of games. "
        "Use the settings that the run was started with (config.json), or another --workdir."
      ) from error

  def _restore(self, **targets: Any) -> dict[str, Any]:
    return dict(self._manager.restore(self.latest(), args=ocp.args.Composite(**targets)))

  def close(self) -> None:
    """Waits until all is written."""
    self._manager.wait_until_finished()
    self._manager.close()


def _abstract(x: Any) -> Any:
  if isinstance(x, jax.Array) or hasattr(x, "sharding"):
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding)
  return x
