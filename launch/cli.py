"""Functions that all commands share.

A mistake of the user ends a command with a one-sentence message and exit code 2. A run that
diverged, files that cannot be written, or, of many runs, some that failed, end it with a
one-sentence message and exit code 1; a signal ends it with 128 + the signal's number. A closed
output pipe counts as SIGPIPE.
"""

import contextlib
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any, TextIO

# EnvPool imports packages that print deprecation warnings, about which a user can do nothing.
warnings.filterwarnings("ignore", category=DeprecationWarning)
warnings.filterwarnings("ignore", module="gymnasium")
# The video encoder is a subprocess. Forking is safe: no compiled program is running at that point.
warnings.filterwarnings("ignore", message=".*os.fork.. was called", category=RuntimeWarning)
# Orbax leaves coroutines unawaited after a failed write.
warnings.filterwarnings("ignore", message="coroutine .* was never awaited", category=RuntimeWarning)
# Of several processes, C++ would print lines of its own when another one is lost.
quiet = any("--coordinator" in word for word in sys.argv)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3" if quiet else "2")
# Orbax logs its normal progress as warnings, and errors with a traceback before it raises them.
logging.getLogger("absl").setLevel(logging.CRITICAL)


def use_devices(cpu_devices: int) -> None:
  """Sets the number of virtual CPU devices; must be called before JAX creates its first array.

  Args:
    cpu_devices: of all processes that train together.

  Raises:
    ConfigError: the devices cannot be divided equally among the processes.
  """
  import jax

  from muzero_jax.config import ConfigError
  from muzero_jax.device import distributed

  processes = distributed.processes()
  if cpu_devices % processes:
    raise ConfigError(
      f"--cpu_devices={cpu_devices}: cannot be shared equally by {processes} processes; use a "
      f"multiple of {processes}."
    )
  jax.config.update("jax_num_cpu_devices", cpu_devices // processes)


def write(path: str, text: str) -> None:
  """Writes a text to the file of --json; with "" only checks that the file can be written.

  Raises:
    ConfigError: it cannot.
  """
  from muzero_jax.config import ConfigError
  from muzero_jax.runs import workdir

  place = workdir.place(path)
  new = not os.path.exists(place)
  try:
    with open(place, "w" if text else "a") as file:
      file.write(text)
    if new and not text:
      os.remove(place)
  except OSError as error:
    raise ConfigError(
      f"--json={path}: cannot be written ({error.strerror}); name another file."
    ) from error


class Output:
  """Standard output or standard error, which may be lost while the command goes on.

  What cannot be written (a full disk, a closed terminal) is dropped. If the reader has gone, as in
  `train | head`, `gone` is called.
  """

  def __init__(self, stream: TextIO, gone: Callable[[], None]):
    self._stream, self._gone = stream, gone

  def __getattr__(self, name: str) -> Any:
    return getattr(self._stream, name)

  def write(self, text: str) -> int:
    self._try(self._stream.write, text)
    return len(text)

  def flush(self) -> None:
    self._try(self._stream.flush)

  def close(self) -> None:
    """Writes what is left, or drops it, so that the interpreter has nothing to write at its end."""
    try:
      self._stream.flush()
    except OSError:
      self._drop()

  def _try(self, action: Callable, *args: str) -> None:
    try:
      action(*args)
    except BrokenPipeError:
      self._gone()
      self._drop()
    except OSError:
      pass

  def _drop(self) -> None:
    """Sends everything from here on, and what is left in the buffer, nowhere."""
    with contextlib.suppress(OSError):
      nowhere = os.open(os.devnull, os.O_WRONLY)
      os.dup2(nowhere, self._stream.fileno())
      os.close(nowhere)


def run(main: Callable[[list[str]], int | None]) -> None:
  """Calls `main` with the command line and exits with its return value; handles errors."""
  from muzero_jax.device import distributed
  from muzero_jax.runs import signals

  with signals.command() as stop:
    streams = sys.stdout, sys.stderr

    def gone() -> None:
      stop.note(signal.SIGPIPE)

    # A stream is None where the process was started without it.
    outputs = [Output(stream, gone) if stream else None for stream in streams]
    sys.stdout, sys.stderr = outputs  # type: ignore[assignment]
    try:
      code = ended(main)
    finally:
      for output in filter(None, outputs):
        output.close()
      sys.stdout, sys.stderr = streams
  code = 128 + stop.signal if stop.signal else code
  distributed.leave(code)
  if stop.abandoned:
    os._exit(code)
  sys.exit(code)


def ended(main: Callable[[list[str]], int | None]) -> int:
  """Calls `main` with the command line; returns the exit code, and prints what went wrong."""
  from muzero_jax.config import ConfigError, DivergedError, FailedError, StorageError
  from muzero_jax.device import distributed
  from muzero_jax.runs import signals

  try:
    return main(sys.argv) or 0
  except (KeyboardInterrupt, signals.Stopped) as stopped:
    code = getattr(stopped, "code", 128 + signal.SIGINT)
    print(f"stopped by {signal.Signals(code - 128).name}.", file=sys.stderr)
    return code
  except (ConfigError, DivergedError, FailedError, StorageError) as error:
    print(f"error: {error}", file=sys.stderr)
    if not isinstance(error, DivergedError):  # that happens in all processes at the same time
      distributed.failed(error, str(error))
    return 2 if isinstance(error, ConfigError) else 1
  except OSError as error:
    if error.filename is None or distributed.is_loss(error):
      distributed.failed(error)
      raise
    sentence = f"{error.filename}: {error.strerror}."
    print(f"error: {sentence}", file=sys.stderr)
    distributed.failed(error, sentence)
    return 1
  except Exception as error:
    distributed.failed(error)
    raise
