"""Functions that all commands share.

A mistake of the user ends a command with a one-sentence message and exit code 2; a run that
diverged ends it with a one-sentence message and exit code 1.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

# EnvPool imports packages that print deprecation warnings, about which a user can do nothing.
warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", module="gymnasium")
# The video encoder is a subprocess. Forking is safe: no compiled program is running at that point.
warnings.filterwarnings("ignore", message=".*os.fork.. was called", category=RuntimeWarning)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Orbax logs its normal progress as warnings.
logging.getLogger("absl").setLevel(logging.ERROR)


def use_devices(cpu_devices: int) -> None:
  """Sets the number of virtual CPU devices; must be called before JAX creates its first array."""
  import jax

  jax.config.update("jax_num_cpu_devices", cpu_devices)


def chosen(flag: str, noun: str, given: str, known: Iterable[str]) -> list[str]:
  """Splits the comma-separated names in a flag's value.

  Args:
    flag: its name, for the error message.
    noun: what the names stand for, for the error message.
    given: the flag's value.
    known: the valid names.

  Returns:
    The names in `given`; all valid names if it has none.

  Raises:
    ConfigError: a name is not valid.
  """
  from muzero_jax.config import ConfigError

  names, known = [name.strip() for name in given.split(",") if name.strip()], list(known)
  for name in names:
    if name not in known:
      raise ConfigError(f"--{flag}={name}: there is no such {noun}; there are {', '.join(known)}.")
  return names or known


def write(path: str, text: str) -> None:
  """Writes a text to the file of --json; with "" only checks that the file can be written.

  Raises:
    ConfigError: it cannot.
  """
  from muzero_jax.config import ConfigError

  try:
    with open(Path(path).expanduser(), "w" if text else "a") as file:
      file.write(text)
  except (OSError, RuntimeError) as error:
    raise ConfigError(
      f"--json={path}: cannot be written ({getattr(error, 'strerror', error)}); name another file."
    ) from error


def run(main: Callable[[list[str]], int | None]) -> None:
  """Calls `main` with the command line and exits with its return value; handles errors."""
  from muzero_jax.config import ConfigError, DivergedError

  try:
    sys.exit(main(sys.argv) or 0)
  except (ConfigError, DivergedError) as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2 if isinstance(error, ConfigError) else 1)
