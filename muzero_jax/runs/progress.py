"""Shows the progress of long tasks: a bar on a terminal, elsewhere a line now and then."""

import shutil
import sys
import textwrap
import time
from typing import Any, Protocol

from tqdm import tqdm

from muzero_jax.device import distributed

PAUSE = 10.0  # seconds between two lines where there is no terminal
FILLING = "filling the replay"  # the phase of a run before learning starts


def duration(seconds: float) -> str:
  """A duration in words, with at most two units: "40 s", "3 min", "1 h 20 min", "2 d 3 h"."""
  if seconds < 60:
    return f"{max(seconds, 0):.0f} s"
  minutes = round(seconds / 60)
  if minutes < 60:
    return f"{minutes} min"
  hours, minutes = divmod(minutes, 60)
  if hours < 24:
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
  days, hours = divmod(hours, 24)
  return f"{days} d {hours} h" if hours else f"{days} d"


def on_terminal() -> bool:
  """Whether bars are drawn: by process 0, if there is a terminal."""
  return distributed.is_first() and bool(sys.stderr and sys.stderr.isatty())


def fitted(text: str) -> str:
  """The text in lines that fit the terminal, broken between words; elsewhere as it is."""
  if not on_terminal():
    return text
  return textwrap.fill(text, shutil.get_terminal_size().columns, subsequent_indent="  ")


class Progress:
  """A context that shows how far one thing is.

  Args:
    what: a name for it.
    total: its size, in the unit in which `show` tells what is done.
    pause: seconds between two lines where there is no terminal.
    first: what is waited for at first; shown at once.
  """

  def __init__(self, what: str, total: float, pause: float = PAUSE, first: str = ""):
    self._what, self._pause, self._last = what, pause, time.monotonic()
    self._bar = tqdm(
      total=total,
      bar_format="{desc} |{bar:6}| {unit}",
      unit=first,
      desc=what,
      disable=not on_terminal(),
      dynamic_ncols=True,
      leave=False,
    )
    if first and self._bar.disable:
      print(f"{what}: {first}", flush=True)

  def __enter__(self) -> "Progress":
    return self

  def __exit__(self, *_: Any) -> None:
    self.close()

  def close(self) -> None:
    """Removes the bar."""
    self._bar.close()

  def show(self, done: float, text: str) -> None:
    """Updates the bar, or prints a line if the last one was `pause` seconds ago.

    Args:
      done: how much of the total is done.
      text: the same in words.
    """
    if not self._bar.disable:
      self._bar.n = min(done, self._bar.total)
      self._bar.unit = text
      self._bar.refresh()
    elif time.monotonic() - self._last >= self._pause:
      self._last = time.monotonic()
      print(f"{self._what}: {text}", flush=True)


class ScreenLike(Protocol):
  """What shows how far a run is: `Screen`, or `SeedScreen` for one of several runs."""

  lines: bool

  def close(self) -> None: ...
  def enter(self, phase: str, sentence: str = "") -> None: ...
  def advance(self, env_steps: int, seconds: float) -> None: ...
  @property
  def left(self) -> str: ...
  def show(self, facts: dict[str, float]) -> None: ...
  def say(self, text: str) -> None: ...


class SeedScreen:
  """One of several runs on another screen, which shows how far they are: prints lines only.

  Args:
    name: printed before each line.
    screen: of all runs.
  """

  def __init__(self, name: str, screen: "Screen"):
    self.lines, self.left = False, ""
    self._name, self._screen = name, screen

  def close(self) -> None:
    """Does nothing: the screen is that of all runs."""

  def enter(self, phase: str, sentence: str = "") -> None:
    """Does nothing: all runs do the same."""

  def advance(self, env_steps: int, seconds: float) -> None:
    """Does nothing: all runs are as far."""

  def show(self, facts: dict[str, float]) -> None:
    """Does nothing."""

  def say(self, text: str) -> None:
    """Prints a line."""
    self._screen.say(f"{self._name}: {text}")


class Screen:
  """A context that shows how far a run is: two lines at the bottom of a terminal.

  The first one says what is waited for, how far the run is, its rate, and the time left; the second
  one has what it learns. Without a terminal the caller prints rows instead.

  Args:
    total: agent steps at the end of the run.
    start: agent steps done so far.
  """

  def __init__(self, total: int, start: int):
    self.lines = not on_terminal()  # whether lines are printed, because nothing can be drawn
    self._total, self._done, self._rate = total, start, 0.0
    self.phase = ""
    look: dict[str, Any] = dict(disable=self.lines, dynamic_ncols=True)
    self._bar = tqdm(
      total=total,
      initial=start,
      unit_scale=True,
      bar_format="{desc} |{bar}| {percentage:.0f} % of {total_fmt} steps{postfix}",
      **look,
    )
    self._facts = tqdm(bar_format="{desc}", leave=False, **look)

  def close(self) -> None:
    """Leaves the first line as it is, and removes the second one."""
    self._facts.close()
    self._bar.close()

  def enter(self, phase: str, sentence: str = "") -> None:
    """Says what is waited for from here on.

    The rate and the time left are measured again from here, because phases differ in speed.

    Args:
      phase: one or two words, for the terminal.
      sentence: the same for a log, which gets one line of it.
    """
    if phase == self.phase:
      return
    self.phase, self._rate = phase, 0.0
    if self.lines:
      print(sentence or phase, flush=True)
    else:
      self._bar.set_postfix_str("", refresh=False)
      self._bar.set_description_str(phase)

  def advance(self, env_steps: int, seconds: float) -> None:
    """The run has reached `env_steps`, `seconds` after the call before."""
    rate = (env_steps - self._done) / max(seconds, 1e-9)
    # A round is about two seconds: the last ten or so count.
    self._rate = 0.8 * self._rate + 0.2 * rate if self._rate else rate
    self._done = env_steps

  @property
  def left(self) -> str:
    """The time left in words; "" at the end, or if it is not known.

    It leaves out evaluations and saves, and is a lower bound until learning starts.
    """
    if self._done >= self._total or not self._rate:
      return ""
    least = "over " if self.phase == FILLING else ""
    return f"{least}{duration((self._total - self._done) / self._rate)} left"

  def show(self, facts: dict[str, float]) -> None:
    """Draws both lines, the second one of these numbers; does nothing without a terminal."""
    if self.lines:
      return
    self._bar.n = self._done
    rate = f"{tqdm.format_sizeof(self._rate)} steps/s"
    self._bar.set_postfix_str(", ".join(filter(None, (rate, self.left))))
    shown = {name: f"{x:,}" if isinstance(x, int) else f"{x:.4g}" for name, x in facts.items()}
    text = "  ".join(f"{name} {value}" for name, value in shown.items())
    self._facts.set_description_str(text[: (self._facts.ncols or 80) - 1])

  def say(self, text: str) -> None:
    """Prints a line above the two."""
    print(text, flush=True) if self.lines else tqdm.write(text)
