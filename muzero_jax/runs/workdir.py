"""The folder of a run: creates and locks it, and writes and reads its config.json.

The lock ensures that only one process at a time trains in a folder.
"""

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
  """Creates the folder if necessary, and locks it.

  Returns:
    The folder, and the lock: a file that holds the lock until it is closed or the process ends.

  Raises:
    ConfigError: no folder was named, it cannot be written, or another process has locked it.
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
  """Checks that a run can be resumed with these settings.

  Raises:
    ConfigError: a setting differs from the folder's config.json, is not one of `config.FREE`, and
      `override_config` is off.
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
  """Writes config.json: the settings, and what else is needed to reproduce the run.

  These are the versions of packages, the devices, the command line and the git revision.
  """
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
  """The absolute path and the settings of the run that --workdir names.

  Raises:
    ConfigError: no folder was named, it has no run, or the run has settings that this version does
      not know.
  """
  if not folder:
    raise ConfigError("--workdir is missing: name the folder of a run.")
  path = place(folder)
  return path, load(path)


def load(folder: Path) -> Config:
  """The settings of the run in a folder.

  Raises:
    ConfigError: the folder has no run, or the run has settings that this version does not know.
  """
  return configs.replace(Config(), configs.upgraded(facts(folder)["config"]))


def facts(folder: Path) -> dict[str, Any]:
  """The contents of a run's config.json.

  Raises:
    ConfigError: the folder has no run.
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
  """The absolute path of a folder or file that a flag names, with ~ expanded.

  Raises:
    ConfigError: the path begins with ~ and a name that is not a user's.
  """
  try:
    return Path(name).expanduser().absolute()
  except RuntimeError as error:
    raise ConfigError(
      f"{name}: the path cannot be expanded ({error}); write it without ~."
    ) from error


def _revision() -> str:
  """The revision of the git checkout that the code is in; "" when it is not in one."""
  call = subprocess.run(
    ["git", "describe", "--always", "--dirty"],
    cwd=Path(__file__).parent,
    capture_output=True,
    text=True,
    check=False,
  )
  return call.stdout.strip()
