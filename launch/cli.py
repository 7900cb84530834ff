"""What all commands share: mistakes of the user are one sentence and exit code 2, never a traceback."""

import logging
import os
import sys
import warnings
from collections.abc import Callable

# EnvPool imports packages that warn about their own futures; nobody who trains can act on that.
warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", module="gymnasium")
# The video encoder is a subprocess; it is started with no program of ours running.
warnings.filterwarnings("ignore", message=".*os.fork.. was called", category=RuntimeWarning)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
logging.getLogger("absl").setLevel(logging.ERROR)  # orbax reports every step of its work as a warning


def use_devices(cpu_devices: int) -> None:
  """On the CPU, makes that many virtual devices. To be called before the first array is made."""
  import jax

  jax.config.update("jax_num_cpu_devices", cpu_devices)


def run(main: Callable[[list[str]], int | None]) -> None:
  """Calls `main` with the command line and exits with what it returns."""
  from muzero_jax.config import ConfigError
  from muzero_jax.envs.base import EnvironmentError

  try:
    sys.exit(main(sys.argv) or 0)
  except (ConfigError, EnvironmentError) as error:
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)
