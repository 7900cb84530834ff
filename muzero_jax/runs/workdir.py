"""The folder of a run: what it is made of, and that one run at a time writes to it."""

import fcntl
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import jax

from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "mctx", "envpool", "orbax-checkpoint", "numpy")


def open_workdir(config: Config) -> tuple[Path, IO]:
  """Makes or enters the folder; the lock that comes with it is held until it is closed or the
  process ends.

  Raises:
    ConfigError: no folder was named, it cannot be written, or another run is using it.
  """
  if not config.workdir:
    raise ConfigError(
      "--workdir is missing: name a folder for the run, for example --workdir=runs/pong."
    )
  folder = place(config.workdir)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    lock = open(folder / ".lock", "w")
  except OSError as error:
    raise ConfigError(
      f"--workdir={config.workdir}: cannot be written ({error.strerror}); name another folder."
    ) from error
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    raise ConfigError(
      f"--workdir={config.workdir}: another run is using it; stop that or name another folder."
    ) from error
  return folder, lock


def compare(config: Config, folder: Path) -> None:
  """Compares the settings with those that the folder's checkpoints were made with.

  Raises:
    ConfigError: a setting differs that may not, and `override_config` is off.
  """
  if (folder / "config.json").exists() and not config.override_config:
    different = configs.differences(load(folder), config)
    if different:
      raise ConfigError(
        f"{folder} holds a run with other settings ({'; '.join(different)}). Use the same ones, "
        "another --workdir, or "
        "--override_config to go on with the new ones."
      )


def describe(config: Config, folder: Path) -> None:
  """Writes config.json: the settings, and what else one needs to know to run the same again."""
  facts = {
    "config": configs.values(config),
    "versions": {name: importlib.metadata.version(name) for name in _PACKAGES}
    | {"python": sys.version.split()[0]},
    "devices": [str(device.device_kind) for device in jax.local_devices()],
    "command": sys.argv,
    "revision": _revision(),
  }
  draft = folder / "config.json.tmp"
  draft.write_text(json.dumps(facts, indent=2) + "\n")
  os.replace(draft, folder / "config.json")


def find(folder: str) -> tuple[Path, Config]:
  """The place and the settings of the run that --workdir names.

  Raises:
    ConfigError: no folder was named, there is no run in it, or one of another version.
  """
  if not folder:
    raise ConfigError("--workdir is missing: name the folder of a run.")
  path = place(folder)
  return path, load(path)


def load(folder: Path) -> Config:
  """The settings of a run.

  Raises:
    ConfigError: there is no run, or one of another version.
  """
  return configs.replace(Config(), configs.upgraded(facts(folder)["config"]))


def facts(folder: Path) -> dict[str, Any]:
  """What config.json holds.

  Raises:
    ConfigError: there is no run.
  """
  try:
    found = json.loads((folder / "config.json").read_text())
    if isinstance(found, dict) and isinstance(found.get("config"), dict):
      return found
  except (OSError, ValueError):
    pass
  raise ConfigError(
    f"--workdir={folder}: there is no run in it (no readable config.json); name the folder of a "
    "run."
  )


def place(name: str | Path) -> Path:
  """The folder or file that a flag names.

  Raises:
    ConfigError: ~ stands for a user who does not exist.
  """
  try:
    return Path(name).expanduser().absolute()
  except RuntimeError as error:
    raise ConfigError(f"{name} names no place ({error}); write the path without ~.") from error


def _revision() -> str:
  """Of the git checkout that the code is run from; "" when there is none."""
  call = subprocess.run(
    ["git", "describe", "--always", "--dirty"],
    cwd=Path(__file__).parent,
    capture_output=True,
    text=True,
    check=False,
  )
  return call.stdout.strip()
