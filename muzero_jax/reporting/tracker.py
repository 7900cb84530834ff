"""Weights & Biases as a place where a run's metrics, evaluations, settings and video go, too.

It is an optional dependency, chosen by --tracker=wandb. Whether it needs a network is its own
setting, WANDB_MODE=offline, as are project and account (WANDB_PROJECT, WANDB_ENTITY).
"""

import importlib
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from muzero_jax import config as configs
from muzero_jax import optional
from muzero_jax.config import Config, ConfigError
from muzero_jax.reporting import board
from muzero_jax.runs import history, jsonl, workdir

STATE = "wandb.json"  # in the run's folder: what has been sent to which of its runs


class Tracker(Protocol):
  """Where a run's results go beside its folder."""

  def add(self, row: dict[str, Any]) -> None:
    """Sends a row of metrics."""
    ...

  def show(self) -> None:
    """Sends what is new in evaluations.jsonl, and the newest video."""
    ...

  def close(self) -> None:
    """Waits until all has been sent."""
    ...


class Nothing:
  """The tracker of --tracker=none."""

  def add(self, row: dict[str, Any]) -> None: ...

  def show(self) -> None: ...

  def close(self) -> None: ...


def check(config: Config) -> None:
  """Raises ConfigError if the library that --tracker needs is not installed."""
  if config.tracker == "wandb":
    _library()


def opened(config: Config, folder: Path, start: int, say: Callable[[str], None] = print) -> Tracker:
  """The tracker that --tracker names.

  Args:
    config: the settings of the run.
    folder: the run's folder.
    start: agent steps done so far.
    say: prints a line.

  Raises:
    ConfigError: it cannot be used.
  """
  return Wandb(config, folder, start, say) if config.tracker == "wandb" else Nothing()


class Wandb:
  """A run of Weights & Biases, which goes on when the run in the folder does.

  Its rows cannot be taken back. When a run goes on from a checkpoint, rows that were sent after it
  stay as they are, and the same steps are not sent again. What a run had before it was tracked is
  sent at the beginning. If something cannot be sent, a line says so once, and training goes on.

  Args: see `opened`.
  """

  def __init__(self, config: Config, folder: Path, start: int, say: Callable[[str], None] = print):
    self._library, self._folder, self._say = _library(), folder, say
    self._known = _read(folder / STATE)
    self._failed = False
    settings = {name: x for name, x in configs.values(config).items() if name != "workdir"}
    try:
      self._run = self._library.init(
        project=os.environ.get("WANDB_PROJECT", "muzero_jax"),
        name=folder.name,
        id=self._known["id"],
        resume="allow",
        reinit="create_new",  # several seeds may be trained side by side
        dir=str(folder),
        config=settings,
        settings=self._library.Settings(quiet=True, console="off"),
      )
      self._run.define_metric("env_steps")
      self._run.define_metric("*", step_metric="env_steps")
    except Exception as error:  # of the network, of an account, ...
      reason = " ".join(str(error).split()).rstrip(".")
      raise ConfigError(
        f"--tracker=wandb: a run cannot be begun ({reason}): log in with `wandb login`, or set "
        "WANDB_MODE=offline and send it later with `wandb sync`."
      ) from error
    for row in jsonl.read(folder / "metrics.jsonl"):
      if row.get("env_steps", 0) <= start:
        self.add(row)

  def add(self, row: dict[str, Any]) -> None:
    """See `Tracker`; a row of steps that were sent before is left out."""
    steps = row.get("env_steps", 0)
    if steps > self._known["env_steps"]:
      numbers = {name: value for name, value in row.items() if jsonl.is_number(value)}
      self._send(lambda: self._run.log(numbers), env_steps=steps)

  def show(self) -> None:
    """See `Tracker`. Evaluations have the names that they have in TensorBoard."""
    self._send(self._send_results)

  def _send_results(self) -> None:
    run = history.read(self._folder)
    for row in run.scores("trained"):
      steps = row.get("env_steps", 0)
      if steps > self._known["evaluated"]:
        found = {"env_steps": steps, **dict(board.scalars(row))}
        self._send(lambda found=found: self._run.log(found), evaluated=steps)
    for path in history.videos(self._folder)[-1:]:
      if path.name != self._known["video"]:
        self._send(lambda path=path: self._log_video(path), video=path.name)

  def close(self) -> None:
    """See `Tracker`."""
    self._send(self._run.finish)

  def _log_video(self, path: Path) -> None:
    film = self._library.Video(str(path), format="mp4")
    self._run.log({"env_steps": int(path.stem), "video": film})

  def _send(self, action: Callable[[], Any], **known: Any) -> None:
    """Calls `action`, and notes what has been sent by it."""
    try:
      action()
      self._known |= known
      workdir.write(self._folder / STATE, json.dumps(self._known))
    except Exception as error:  # of the network, of the disk, of the library
      if not self._failed:
        reason = " ".join(str(error).split()) or type(error).__name__
        self._say(f"warning: not all was sent to Weights & Biases ({reason}); training goes on.")
      self._failed = True


def _library() -> Any:
  instead = ", or use --tracker=none"
  with optional.needed("--tracker=wandb needs wandb", "wandb", instead=instead):
    return importlib.import_module("wandb")


def _read(path: Path) -> dict[str, Any]:
  """What has been sent before; of a new run nothing."""
  known = {"id": secrets.token_hex(4), "env_steps": 0, "evaluated": 0, "video": ""}
  try:
    found = json.loads(path.read_text())
  except (OSError, ValueError, RecursionError):
    return known
  fits = isinstance(found, dict) and all(
    type(found.get(name)) is type(value) for name, value in known.items()
  )
  return found if fits else known
