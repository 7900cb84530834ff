"""Ends a process on a signal: at once where everything is saved, otherwise after a save.

A command has one `Stop` for its whole life, with a thread that ends the process even while the main
thread is inside XLA, where Python cannot run a signal handler (a compilation can take minutes). In
a library, `train` makes a `Stop` of its own, which only raises `Stopped` in the main thread.

Where several processes train together, a signal to one of them is passed on to all. A scheduler may
signal each of them, seconds apart: a signal that was passed on does not count as the first of two.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from muzero_jax.device import distributed

# Those that ask a process to end: Ctrl-C, a scheduler, a closed terminal.
NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A second signal ends the process at once, but not within this many seconds of the first: a closed
# terminal and some schedulers send the same signal twice.
AGAIN = 1.0


class Stopped(SystemExit):
  """A signal asked the process to end. `code` is 128 + the number of the signal."""


class Stop:
  """A context that handles the signals in `NUMBERS`, except those that are ignored already (nohup).

  What a signal does:
    nothing is unsaved: a command ends at once; in a library `Stopped` is raised.
    something is unsaved: `signal` is set, and the owner of the state saves it and ends. Within
      `interruptible`, `Stopped` is raised, too.
    a second signal: the process ends as if there were no handler.

  Python runs signal handlers in the main thread only: in another thread the context has no effect.

  Args:
    forced: end the process itself; for commands.

  Attributes:
    signal: number of the first signal, or 0.
    unsaved: whether ending the process now would lose something.
    message: what to print when the process ends; "" names the signal.
    abandoned: whether a save was abandoned: orbax threads may then still be waiting, for minutes,
      for a folder that cannot be created, and the interpreter would wait for them at its end.
    before_exit: called before the process is ended, for example to finish writing.
  """

  def __init__(self, forced: bool = False):
    self.signal, self.unsaved, self.message = 0, False, ""
    self.before_exit: Callable[[], None] = lambda: None
    self.abandoned = False
    self._forced, self._interruptible = forced, False
    self._handled, self._since = False, 0.0
    self._before: dict[int, Any] = {}
    self._leaving = threading.RLock()
    self._pipe: tuple[int, int] | None = None

  def __enter__(self) -> "Stop":
    if threading.current_thread() is not threading.main_thread():
      return self
    if self._forced:
      self._pipe = os.pipe()
      os.set_blocking(self._pipe[1], False)
      self._former_fd = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
      threading.Thread(target=self._watch, args=(self._pipe[0],), daemon=True).start()
    for number in NUMBERS:
      if signal.getsignal(number) not in (signal.SIG_IGN, None):
        self._before[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *_: Any) -> None:
    for number, handler in self._before.items():
      signal.signal(number, handler)
    if self._pipe:
      signal.set_wakeup_fd(self._former_fd)
      os.close(self._pipe[1])  # ends the thread, which closes the other end

  @contextlib.contextmanager
  def interruptible(self) -> Iterator[None]:
    """A part during which a signal raises `Stopped` although something is unsaved."""
    self._interruptible = True
    try:
      if self.signal:
        raise Stopped(128 + self.signal)
      yield
    finally:
      self._interruptible = False

  def note(self, number: int) -> None:
    """Sets `signal` as if this signal had arrived, without any other effect in this process."""
    self.signal = self.signal or number
    distributed.tell(number)

  def leave(self) -> None:
    """Ends the process. The first thread that calls this prints the message.

    Where `before_exit` raises an error, that is printed in its place: something was not written.
    """
    with self._leaving:
      output, text = sys.stdout, self.message or f"stopped by {signal.Signals(self.signal).name}."
      try:
        self.before_exit()
      except Exception as error:
        if distributed.is_loss(error):
          distributed.lost()
        output, text = sys.stderr, f"error: {error}"
      # In a thread, because printing may block if the output is not read.
      printer = threading.Thread(target=_say, args=(text, output), daemon=True)
      printer.start()
      printer.join(AGAIN)
      distributed.leave(128 + self.signal)
      os._exit(128 + self.signal)

  def _handle(self, number: int, _: Any) -> None:
    """The signal handler, in the main thread."""
    if not self._forced and self._again(number):
      signal.signal(number, self._before[number])
      os.kill(os.getpid(), number)
    if self._handled:
      return
    self._handled = True
    self.note(number)
    if not self.unsaved and self._forced:
      self.leave()
    if not self.unsaved or self._interruptible:
      raise Stopped(128 + number)
    _say("\nstopping after this round; saving ...")

  def _watch(self, pipe: int) -> None:
    """Reads the numbers of signals as they arrive, in a thread, until the pipe is closed."""
    while number := os.read(pipe, 1):
      if number[0] in self._before:
        again = self._again(number[0])
        self.note(number[0])
        if again:
          os._exit(128 + number[0])
        if not self.unsaved:
          self.leave()
    os.close(pipe)

  def _again(self, number: int) -> bool:
    """Whether this is a second signal, and not an echo of the first one."""
    if distributed.passed_on(number):
      return False
    self._since = self._since or time.monotonic()
    return time.monotonic() - self._since > AGAIN


_command: Stop | None = None


@contextlib.contextmanager
def command() -> Iterator[Stop]:
  """The `Stop` of a command, for its whole life."""
  global _command
  with Stop(forced=True) as stop:
    _command = stop
    try:
      yield stop
    finally:
      _command = None


@contextlib.contextmanager
def handled() -> Iterator[Stop]:
  """The `Stop` of the command or, in a library, one of its own."""
  if _command:
    yield _command
  else:
    with Stop() as stop:
      yield stop


def _say(text: str, output: TextIO | None = None) -> None:
  """Prints a line, on standard output by default, unless the output is closed."""
  with contextlib.suppress(OSError, RuntimeError, ValueError):
    print(text, file=output, flush=True)
    sys.stderr.flush()
