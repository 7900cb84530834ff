"""The folder of a run: creates and locks it, and writes and reads its config.json.

The lock ensures that only one process at a time trains in a folder.
"""

import contextlib
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
from muzero_jax.config import Config, ConfigError, StorageError

# What a run's folder holds under these names must be files, and folders, respectively.
_RESULTS = ("metrics.jsonl", "evaluations.jsonl", "curve.png", "report.html", "wandb.json")
_FILES = (".lock", "config.json", *_RESULTS)
_FOLDERS = ("checkpoints", "damaged", "diverged", "video", "evaluations", "wandb")
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "mctx", "envpool", "orbax-checkpoint", "numpy")


class Lock(contextlib.AbstractContextManager):
  """The lock of a run's folder, held until it is closed or the process ends.

  Args:
    file: `.lock` in the folder, which is locked; None in a process that leaves it to another one.
  """

  def __init__(self, file: IO | None = None):
    self._file = file

  def __exit__(self, *_: Any) -> None:
    self.close()

  def close(self) -> None:
    """Gives the lock up."""
    if self._file:
      self._file.close()

  def check(self) -> None:
    """Makes sure that the folder is still this run's.

    Somebody may have removed it and begun another run there, whose files this one must not touch.
    If only the lock is missing, or the folder was made anew, it is locked again.

    Raises:
      StorageError: another run is there.
    """
    if not self._file:
      return
    path = Path(self._file.name)
    try:
      own = self._is_at(path)
    except BlockingIOError:
      own = False
    except OSError:  # the folder is gone, or cannot be read or written: saving says so
      return
    if not own:
      raise StorageError(
        f"{path.parent}: the folder was removed, and another run has begun there; this one ends, "
        "and what it learned is lost."
      )

  def _is_at(self, path: Path) -> bool:
    """Whether the file at `path` is the locked one, or becomes it, because there is none."""
    assert self._file
    try:
      return os.path.samestat(os.fstat(self._file.fileno()), path.stat())
    except FileNotFoundError:
      self._again(path)
    return True

  def _again(self, path: Path) -> None:
    file = open(path, "a")
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    self.close()
    self._file = file


def open_workdir(config: Config) -> tuple[Path, Lock]:
  """Creates the folder if necessary, and locks it.

  Returns:
    The folder, and the lock.

  Raises:
    ConfigError: no folder was named, its name cannot be used, it cannot be written, it holds
      something that is not a run, or another process has locked it.
  """
  if not config.workdir:
    raise ConfigError(
      "--workdir is missing: name a folder for the run, for example --workdir=runs/pong."
    )
  if "," in config.workdir or config.workdir != config.workdir.strip():
    raise ConfigError(
      f"--workdir={config.workdir}: other commands could not name a folder with a comma, or with "
      "spaces around it; name another folder."
    )
  folder = place(config.workdir)
  check_kinds(folder)
  try:
    folder.mkdir(parents=True, exist_ok=True)
    lock = open(folder / ".lock", "a")
  except OSError as error:
    raise ConfigError(
      f"--workdir={config.workdir}: cannot be written ({error.strerror}); name another folder."
    ) from error
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    raise ConfigError(
      f"--workdir={config.workdir}: another run is using it; stop that or name another folder."
    ) from error
  except OSError as error:
    raise ConfigError(
      f"--workdir={config.workdir}: its file system cannot lock files ({error.strerror}); name a "
      "folder on another one."
    ) from error
  return folder, Lock(lock)


def check_kinds(folder: Path) -> None:
  """Checks what stands where a run has its files and folders.

  Raises:
    ConfigError: one is of another kind, or a file is a symbolic link.
  """
  for names, test, kind in ((_FILES, is_own_file, "file"), (_FOLDERS, Path.is_dir, "folder")):
    for path in (folder / name for name in names):
      if os.path.lexists(path) and not test(path):
        raise ConfigError(f"{path}: is not a {kind}; remove it, or name another folder.")


def is_own_file(path: Path) -> bool:
  """Whether it is a regular file: not a symbolic link, since a run's reports may be passed on.

  Raises:
    OSError: its folder cannot be read.
  """
  return path.is_file() and not path.is_symlink()


def read(path: Path) -> bytes:
  """The contents of a file of a run.

  Raises:
    ValueError: it is not a file of its own (`is_own_file`). Reading a pipe would wait for ever.
    OSError: it cannot be read, or there is none.
  """
  if os.path.lexists(path) and not is_own_file(path):
    raise ValueError("it is not a file")
  return path.read_bytes()


def compare(config: Config, folder: Path) -> None:
  """Checks that a run can be resumed with these settings.

  Raises:
    ConfigError: a setting differs from the folder's config.json and is not one of `config.FREE`, or
      config.json is missing or cannot be read; not if `override_config` is on.
  """
  if config.override_config:
    return
  try:
    different = configs.differences(load(folder), config)
  except ConfigError as error:
    raise ConfigError(
      f"{folder} holds checkpoints, but the settings of their run cannot be read ({error}) Put "
      "config.json back, name another --workdir, or use --override_config to go on with the "
      "settings of this command."
    ) from error
  if different:
    raise ConfigError(
      f"{folder} holds a run with other settings ({'; '.join(different)}). Use the same ones, "
      "another --workdir, or "
      "--override_config to go on with the new ones."
    )
  check_devices(config, folder)


def check_devices(config: Config, folder: Path) -> None:
  """Checks that a run on GPUs or TPUs goes on with as many as before.

  Environments and batches are stated per device. On a CPU the number is a setting.

  Raises:
    ConfigError: there are more or fewer, and not all sizes are stated in total.
  """
  before, now = len(facts(folder).get("devices", ())), jax.device_count()
  totals = config.env.total_envs and config.learner.total_batch_size
  if jax.default_backend() != "cpu" and before not in (0, now) and not totals:
    raise ConfigError(
      f"{folder} holds a run on {before} device(s), and there are {now}: with --env.num_envs and "
      "--learner.batch_size on each, it would become another experiment. Use as many as before, "
      "another --workdir, or --override_config to go on with these."
    )


def describe(config: Config, folder: Path) -> None:
  """Writes config.json: the settings, and what else is needed to reproduce the run.

  These are the versions of packages, the devices, the command line and the git revision.

  Raises:
    OSError: it cannot be written.
  """
  facts = {
    "config": configs.values(config),
    "versions": {name: importlib.metadata.version(name) for name in _PACKAGES}
    | {"python": sys.version.split()[0]},
    "devices": [str(device.device_kind) for device in jax.devices()],
    # A word that is not UTF-8 could be written, but not be read again.
    "command": [os.fsencode(word).decode(errors="replace") for word in sys.argv],
    "revision": _revision(),
  }
  write(folder / "config.json", json.dumps(facts, indent=2) + "\n")


def write(path: Path, content: str | bytes) -> None:
  """Writes a file, which appears when it is complete; never through a symbolic link.

  Args:
    path: the file, in a folder that exists.
    content: a text is written in UTF-8.

  Raises:
    OSError: it cannot be written.
  """
  draft = path.with_name(f".{path.name}.part")
  if isinstance(content, str):
    content = content.encode("utf-8", errors="xmlcharrefreplace")
  try:
    draft.unlink(missing_ok=True)
    with open(draft, "xb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())  # or the file may be empty after a power failure
    os.replace(draft, path)
  except OSError as error:
    with contextlib.suppress(OSError):
      draft.unlink(missing_ok=True)  # an incomplete file would take space
    error.filename = str(path)
    raise


def find(folder: str) -> tuple[Path, Config]:
  """The absolute path and the settings of the run that --workdir names.

  Raises:
    ConfigError: no folder was named, it has no run, a file of the run cannot be one, or the run has
      settings that this version does not know.
  """
  if not folder:
    raise ConfigError("--workdir is missing: name the folder of a run.")
  path = place(folder)
  check_kinds(path)
  return path, load(path)


def runs(names: str) -> list[str]:
  """The runs that --workdir names, for commands that take several.

  Args:
    names: folders with commas between. A folder with a config.json is a run; one without stands for
      all runs below it, in alphabetical order. Hidden folders and links are not followed.

  Returns:
    The runs' folders, at least one. A folder without any run is returned as it is: the error that
    names it is raised when it is opened.

  Raises:
    ConfigError: no file can have such a name.
  """
  found = []
  for name in filter(None, (name.strip() for name in names.split(","))):
    if os.path.lexists(place(name) / "config.json"):
      found.append(name)
    else:
      found += _below(place(name)) or [name]
  return found or [""]


def _below(folder: Path) -> list[str]:
  """The runs in a folder and in its folders; none is looked for within a run."""
  found = []
  for path, folders, files in os.walk(folder):
    if "config.json" in files:
      found.append(path)
      folders.clear()
    folders[:] = sorted(name for name in folders if not name.startswith("."))
  return found


def own_settings(config: Config, new: bool = True) -> Config | None:
  """The settings of the run in `config.workdir`, so that it can go on without repeating its flags.

  Args:
    config: the settings that were asked for.
    new: whether they are enough to begin a new run with.

  Returns:
    The run's, with `workdir` as given and `override_config` off; None if there is no run, or if its
    settings cannot be read and `override_config` is on.

  Raises:
    ConfigError: the run's settings cannot be read, or there is neither a run nor `new`.
  """
  folder = place(config.workdir)
  if not config.workdir:
    return None
  if not os.path.lexists(folder / "config.json"):
    if not new and not (folder / "checkpoints").exists():
      raise ConfigError(
        f"--workdir={config.workdir}: there is no run in it to go on with; name the folder of a "
        "run, or what a new one is to learn, for example --preset=quickstart or --env.task=Pong-v5."
      )
    return None
  try:
    own = load(folder)
  except ConfigError:
    if config.override_config:
      return None
    if (folder / "checkpoints").exists():
      compare(config, folder)  # says what to do about it
    raise
  return configs.replace(own, {"workdir": config.workdir, "override_config": False})


def load(folder: Path) -> Config:
  """The settings of the run in a folder.

  Raises:
    ConfigError: the folder has no run, or the run has settings that this version does not know, or
      values that no flag could have.
  """
  return settings(folder / "config.json", facts(folder)["config"])


def settings(source: Path, found: dict[str, Any]) -> Config:
  """The settings that a file has, by dotted name, as a configuration.

  Args:
    source: the file, for the error message.
    found: what is in it; names of earlier versions are accepted.

  Raises:
    ConfigError: this version does not know a setting, or no flag could have such a value.
  """
  try:
    found = configs.upgraded(found)
    configs.check_types(found)
    config = configs.replace(Config(), found)
    configs.check_ranges(config)
  except ConfigError as error:
    raise ConfigError(
      f"{source}: {error} It was written by another version, or changed by hand."
    ) from error
  return config


def facts(folder: Path) -> dict[str, Any]:
  """The contents of a run's config.json.

  Returns:
    A dictionary: "config", the settings by their current names, with values of the right types;
    "versions", "devices", "command" and "revision", where they are known.

  Raises:
    ConfigError: the folder has no run, or its config.json cannot be used.
  """
  path = folder / "config.json"
  try:
    found = json.loads(read(path).decode())
    json.dumps(found, ensure_ascii=False).encode()  # fails for half of a surrogate pair
    if not isinstance(found, dict) or not isinstance(found.get("config"), dict):
      raise ValueError("it holds no settings")
    settings = configs.upgraded(found["config"])
    configs.check_types(settings)
  except ConfigError as error:
    raise ConfigError(f"{path}: {error}") from error
  except FileNotFoundError as error:
    checkpoints = (folder / "checkpoints").is_dir()
    beside = "; there are checkpoints in it: put config.json back" if checkpoints else ""
    raise ConfigError(
      f"--workdir={folder}: there is no run in it (no readable config.json{beside}); name the "
      "folder of a run."
    ) from error
  except (OSError, ValueError, RecursionError) as error:
    reason = getattr(error, "strerror", None) or (
      "it is cut off or damaged"
      if isinstance(error, json.JSONDecodeError | UnicodeError | RecursionError)
      else str(error)
    )
    raise ConfigError(
      f"--workdir={folder}: there is no run in it (no readable config.json: {reason}); name the "
      "folder of a run."
    ) from error
  kinds = {"versions": dict, "devices": list, "command": list, "revision": str}
  known = {name: found[name] for name, kind in kinds.items() if isinstance(found.get(name), kind)}
  return {"config": settings, **known}


def place(name: str | Path) -> Path:
  """The absolute path of a folder or file that a flag names, with ~ expanded.

  Raises:
    ConfigError: the path begins with ~ and a name that is not a user's, or it has a null character,
      or it or the current folder is not UTF-8.
  """
  if not _is_text(str(name)):
    raise ConfigError(f"{str(name)!r}: no file can have this name; name another one.")
  try:
    path = Path(name).expanduser().absolute()
  except RuntimeError as error:
    raise ConfigError(
      f"{name}: the path cannot be expanded ({error}); write it without ~."
    ) from error
  if not _is_text(str(path)):
    raise ConfigError(f"{str(path)!r}: this path is not UTF-8; start in another folder.")
  return path


def _is_text(name: str) -> bool:
  """Whether a name could be written to a file as text, and be that of a file."""
  try:
    return b"\0" not in name.encode()
  except UnicodeEncodeError:
    return False


def _revision() -> str:
  """The revision of the git checkout that the code is in; "" without a checkout or without git."""
  try:
    call = subprocess.run(
      ["git", "describe", "--always", "--dirty"],
      cwd=Path(__file__).parent,
      capture_output=True,
      text=True,
      check=False,
    )
  except FileNotFoundError:
    return ""
  return call.stdout.strip()
