"""Several processes, on one host or many, that train one agent together.

Each process drives its own devices, with its own environments and its own part of the replay; all
run the same program at the same time (`parallel.py`). Process 0 also does what is done once: it
writes, evaluates, and decides how long each round is. A process that is alone is process 0, and
every function here returns at once.

JAX's distributed runtime connects the processes. Its client, which is not part of JAX's public
interface, is known in this module only. JAX is imported in functions: every command imports this
module before it does anything, so that it can handle signals from the start.
"""

import contextlib
import ctypes
import functools
import json
import os
import re
import socket
import sys
import threading
import time
import traceback
from typing import Any, NoReturn

from muzero_jax.config import ConfigError, StorageError

HEARTBEAT = 30  # seconds after which a process that is not heard of counts as lost
JOIN = 300  # seconds in which all processes must have started
_FOREVER = 10**9  # milliseconds
_LOST = re.compile("gloo|nccl|coordination|heartbeat|barrier|unavailable|socket closed", re.I)


class _Group:
  """What this process knows of the others."""

  def __init__(self, client: Any, process: int, processes: int):
    self.client, self.process, self.processes = client, process, processes
    self.agreements = 0
    self.told = False  # whether this process has told the others why to end, or was told
    self.passed_on = 0  # a signal that this process has sent to itself, until it arrives
    self.leaving: int | None = None  # the exit code of this process, once it is ending
    self.lock = threading.RLock()


_group: _Group | None = None
_keep: Any = None  # the function that C++ calls


def connect(coordinator: str, processes: int = 0, process: int = 0) -> None:
  """Connects this process with the others; does nothing without a coordinator.

  Must be called before JAX creates its first array.

  Args:
    coordinator: address and port of process 0, the same in all processes; "auto": JAX finds it, and
      the rest, in the environment of SLURM, Open MPI, Kubernetes or a TPU pod.
    processes: number of processes.
    process: number of this one, from 0.

  Raises:
    ConfigError: the numbers do not fit, or the others cannot be reached.
  """
  global _group
  if not coordinator:
    if processes > 1 or process:
      raise ConfigError(
        "--processes and --process need --coordinator, the address of process 0, for example "
        "--coordinator=10.0.0.1:1234, or auto."
      )
    return
  given: dict[str, Any] = {}
  if coordinator != "auto":
    _check(coordinator, processes, process)
    given = dict(coordinator_address=coordinator, num_processes=processes, process_id=process)
    given |= dict(cluster_detection_method="deactivate")
    if processes == 1:
      return
  import jax
  from jax._src import distributed as runtime

  # Processes with GPUs would share the work of tuning kernels, and wait for each other forever
  # where their programs differ, as they do here: each has the addresses of its own emulators.
  flags = os.environ.get("XLA_FLAGS", "")
  if "shard_autotuning" not in flags:
    os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_shard_autotuning=false".strip()
  jax.config.update("jax_cpu_collectives_implementation", "gloo")
  jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM from us
  try:
    with _notified():
      jax.distributed.initialize(
        **given, initialization_timeout=JOIN, heartbeat_timeout_seconds=HEARTBEAT
      )
  except (RuntimeError, ValueError) as error:
    text = " ".join(str(error).split())[:200]
    text = "not all have answered" if "bad_cast" in text else text
    runtime.global_state.client = runtime.global_state.service = None  # or JAX ends with an error
    if "should be defined" in text or "must be defined" in text:
      raise ConfigError(
        "--coordinator=auto: JAX finds neither SLURM, Open MPI, Kubernetes nor a TPU pod here; "
        "give each process the address of process 0, --processes and --process, for example "
        "--coordinator=10.0.0.1:1234 --processes=2 --process=0."
      ) from error
    raise ConfigError(
      f"--coordinator={coordinator}: the processes cannot be connected ({text}); start all of them "
      "within five minutes, with the same address, which all can reach."
    ) from error
  state = runtime.global_state
  if state.num_processes == 1:
    return
  _group = _Group(state.client, state.process_id, state.num_processes)
  threading.Thread(target=_listen, args=(_group,), daemon=True).start()


def _check(coordinator: str, processes: int, process: int) -> None:
  if not re.fullmatch(r"\S+:\d+", coordinator):
    raise ConfigError(
      f"--coordinator={coordinator}: must be an address and a port, for example 10.0.0.1:1234, or "
      "auto."
    )
  if processes < 1 or process >= processes:
    raise ConfigError(
      f"--process={process}: must be below --processes={processes}, the number of processes; they "
      "are counted from 0."
    )
  port = int(coordinator.rpartition(":")[2])
  with socket.socket() as trial:
    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
      if not process:
        trial.bind(("", port))
    except (OSError, OverflowError) as error:  # JAX would crash
      raise ConfigError(
        f"--coordinator={coordinator}: process 0 cannot listen on port {port} ({error}); choose "
        "another one, the same for all processes."
      ) from error


@contextlib.contextmanager
def _notified():
  """Within this context, JAX connects so that `lost` is called when another process is lost.

  Otherwise JAX would end this process with a traceback of C++. The client has an argument for a
  callback, `missed_heartbeat_callback`, which `jax.distributed.initialize` does not offer. jaxlib
  0.10 then fails to call it and ends the process by `std::terminate`, whose handler is set, too.
  """
  global _keep
  from jax._src import distributed as runtime

  jaxlib: Any = runtime
  original = jaxlib._jax.get_distributed_runtime_client
  _keep = ctypes.CFUNCTYPE(None)(lost)
  with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL("libstdc++.so.6")._ZSt13set_terminatePFvvE(_keep)
  jaxlib._jax.get_distributed_runtime_client = functools.partial(
    original, missed_heartbeat_callback=lambda *_: lost(), shutdown_on_destruction=False
  )
  try:
    yield
  finally:
    jaxlib._jax.get_distributed_runtime_client = original


def processes() -> int:
  """The number of processes that train together."""
  return _group.processes if _group else 1


def is_first() -> bool:
  """Whether this is process 0, or alone."""
  return not _group or not _group.process


def agreed(value: Any) -> Any:
  """Broadcasts the value of process 0 to all processes; it returns when all have called it.

  Args:
    value: can be written as JSON.
  """
  group = _group
  if not group:
    return value
  group.agreements += 1
  name = f"agreed/{group.agreements}"
  if not group.process:
    group.client.key_value_set(name, json.dumps(value))
  group.client.wait_at_barrier(name, _FOREVER)
  value = json.loads(group.client.blocking_key_value_get(name, _FOREVER))
  if not group.process and group.agreements > 1:  # all have read the one before
    group.client.key_value_delete(f"agreed/{group.agreements - 1}")
  return value


def wait() -> None:
  """Returns when all processes have called it."""
  agreed(None)


def check_same(settings: dict[str, Any]) -> None:
  """Raises ConfigError if process 0 has other settings, by dotted name, than this one."""
  first = agreed(settings)
  differences = [
    f"--{name}: {first.get(name)} there, {value} here"
    for name, value in settings.items()
    if json.loads(json.dumps(value)) != first.get(name)
  ]
  if differences:
    raise ConfigError(
      f"process {_group and _group.process} has other settings than process 0 "
      f"({'; '.join(differences)}); start all processes with the same flags."
    )


def tell(number: int) -> None:
  """Tells all processes that a signal has arrived here; each then gets it, too."""
  group = _group
  if group and not group.told:
    group.told = True
    with contextlib.suppress(Exception):
      group.client.key_value_set("signal", str(int(number)), allow_overwrite=True)


def passed_on(number: int) -> bool:
  """Whether a signal that arrives is that of another process, passed on; true once."""
  group = _group
  if not group or group.passed_on != number:
    return False
  group.passed_on = 0
  return True


def _listen(group: _Group) -> None:
  """Waits, in a thread, for a signal or an error in another process."""
  said = ""
  while not said:
    try:
      said = group.client.blocking_key_value_get("signal", _FOREVER)
    except Exception as error:
      if "DEADLINE" not in str(error):
        return  # the connection is lost, and `lost` is called
  if group.told:
    return
  group.told = True
  if said.isdigit():
    group.passed_on = int(said)
    os.kill(os.getpid(), group.passed_on)
  else:
    lost(said, reachable=True)


def lost(why: str = "it does not answer any more", reachable: bool = False) -> NoReturn:
  """Ends this process because another one is gone; may be called in any thread.

  Args:
    why: the reason, in words.
    reachable: whether the others can still be spoken with.
  """
  group = _group
  with group.lock if group else contextlib.nullcontext():
    if group and group.leaving is not None:
      _end(group.leaving)
    own = f" (process {group.process} of {group.processes})" if group else ""
    _say(
      f"error: another process of this run has ended ({why}), and so does this one{own}; start all "
      "of them again with the same command, and the run goes on from its newest checkpoint."
    )
    if reachable:
      leave(1)
    _end(1)


def failed(error: Exception, sentence: str = "") -> None:
  """Ends this process and the others because of an error; returns if it is alone.

  Args:
    error: what was raised.
    sentence: what to tell the others; "": the error is not expected, and its traceback is printed.
  """
  group = _group
  if not group:
    return
  if is_loss(error):
    lost()
  if not sentence:
    traceback.print_exception(error)
  own = sentence or f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
  group.told = True
  with contextlib.suppress(Exception):
    group.client.key_value_set("signal", f"process {group.process}: {own}", allow_overwrite=True)
  if not sentence:
    leave(1)


def is_loss(error: Exception) -> bool:
  """Whether an error came from the loss of another process.

  What this process says itself, for example of a folder called nccl or of a full disk, is none.
  """
  own = isinstance(error, (ConfigError, StorageError))
  if isinstance(error, OSError) and not isinstance(error, ConnectionError):
    own = error.errno is not None  # of the system; orbax raises others without a number
  return bool(_group) and not own and bool(_LOST.search(str(error)))


def leave(code: int, patience: float = 10.0) -> None:
  """Ends this process when the others end, too; returns if it is alone.

  Args:
    code: the exit code.
    patience: seconds to wait for the others. Process 0 must not end before them, because they would
      lose their connection.
  """
  group = _group
  if not group:
    return
  group.leaving = code
  with contextlib.suppress(Exception):
    group.client.wait_at_barrier("leaving", int(1000 * patience))
  if not group.process:
    time.sleep(0.5)  # the others are being told so
  _end(code)


def _say(sentence: str) -> None:
  with contextlib.suppress(Exception):
    print(sentence, file=sys.stderr, flush=True)


def _end(code: int) -> NoReturn:
  """Ends the process at once: JAX would wait for all others to end in the same way."""
  with contextlib.suppress(Exception):
    sys.stdout.flush()
    sys.stderr.flush()
  os._exit(code)
