"""What all commands share: mistakes of the user are one sentence and exit code 2, a run that
diverged is one and exit code 1.
"""

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

# EnvPool imports packages that warn about their own futures; nobody who trains can act on that.
warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", module="gymnasium")
# The video encoder is a subprocess; it is started with no program of ours running.
warnings.filterwarnings("ignore", message=".*os.fork.. was called", category=RuntimeWarning)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
logging.getLogger("absl").setLevel(
  logging.ERROR
)  # orbax reports every step of its work as a warning


def use_devices(cpu_devices: int) -> None:
  """On the CPU, makes that many virtual devices. To be called before the first array is made."""
  import jax

  jax.config.update("jax_num_cpu_devices", cpu_devices)


def chosen(flag: str, noun: str, given: str, known: Iterable[str]) -> list[str]:
  """The names in a flag's value, commas between; where there are none, all.

  Raises:
    ConfigError: there is no such one.
  """
  from muzero_jax.config import ConfigError

  names, known = [name.strip() for name in given.split(",") if name.strip()], list(known)
  for name in names:
    if name not in known:
      raise ConfigError(f"--{flag}={name}: there is no such {noun}; there are {', '.join(known)}.")
  return names or known


def write(path: str, text: str) -> None:
  """Puts the text into a file; without text, only sees whether that will be possible."""
  from muzero_jax.config import ConfigError

  try:
    with open(Path(path).expanduser(), "w" if text else "a") as file:
      file.write(text)
  except (OSError, RuntimeError) as error:
    raise ConfigError(
      f"--json={path}: cannot be written ({getattr(error, 'strerror', error)}); name another file."
    ) from error


def run(main: Callable[[list[str]], int | None]) -> None:
  """Calls `main` with the command line and exits with what it returns."""
  from muzero_jax.config import ConfigError, DivergedError

  try:
    sys.exit(main(sys.argv) or 0)
  except (ConfigError, DivergedError) as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2 if isinstance(error, ConfigError) else 1)
