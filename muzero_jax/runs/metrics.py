"""Reports the metrics of a run: metrics.jsonl, TensorBoard events, and the terminal.

On a terminal there is a progress bar; where the output is redirected, lines are printed instead.
"""

import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from muzero_jax.diagnostics import derived
from muzero_jax.runs.events import Events
from muzero_jax.runs.journal import Journal
from muzero_jax.runs.progress import ScreenLike
from muzero_jax.types import Metrics

STATM = Path("/proc/self/statm")  # Linux's: its second number is the resident memory in pages
Sums = dict[str, tuple[float, float]]  # name -> (sum, weight)

# Metrics that are shown while a run goes on, and their labels: the mean return of the episodes that
# ended, the mean return so far of those that did not, and the loss.
SHOWN = {"episode/return": "return", "episode/unfinished": "unfinished", "loss/total": "loss"}


def sums(metrics: Metrics) -> Sums:
  """Sums metrics over devices, on the host; waits for the program that computes them.

  Args:
    metrics: name -> f32[D, 2], (sum, weight) on each of D devices.

  Returns:
    name -> (sum, weight).
  """
  host = {name: np.asarray(x, np.float64).sum(0) for name, x in jax.device_get(metrics).items()}
  return {name: (float(total), float(weight)) for name, (total, weight) in host.items()}


def add(a: Sums, b: Sums) -> Sums:
  """Adds the sums and weights of `b` to those of `a`; a name may be in one of them only."""
  pairs = {name: (a.get(name, (0.0, 0.0)), b.get(name, (0.0, 0.0))) for name in {**a, **b}}
  return {name: (one[0] + two[0], one[1] + two[1]) for name, (one, two) in pairs.items()}


def means(total: Sums) -> dict[str, float]:
  """sum / weight of every metric whose weight is not 0."""
  return {name: s / w for name, (s, w) in total.items() if w > 0}


def held() -> dict[str, float]:
  """Memory that this process and its devices hold now, in GiB, as far as the system tells."""
  found = {}
  if STATM.exists():
    found["memory/host"] = int(STATM.read_text().split()[1]) * resource.getpagesize() / 2**30
  devices = [device.memory_stats() or {} for device in jax.local_devices()]
  if used := [stats["bytes_in_use"] for stats in devices if "bytes_in_use" in stats]:
    found["memory/device"] = max(used) / 2**30
  return found


class Reporter:
  """Accumulates the metrics of training and writes their means as rows.

  A round is the part of training that the device does in one call of the compiled program; `add` is
  called after each. `write` is called whenever a row is due.

  Args:
    folder: the run's folder, where metrics.jsonl, which ends at `start`, and the TensorBoard events
      are written; None: they are not, because another process writes them.
    screen: where it is shown how far the run is.
    start: agent steps done so far; not 0 when the run is resumed.
    simulations: search simulations per agent step.
    frames: emulator frames per agent step.
    devices: number of devices that report metrics.
    updates: gradient steps done so far.
    skipped: gradient steps that diverged and were skipped so far.
    seconds: wall-clock time of the run so far.
    pending: sums accumulated since the last row.
    track: gets every row, too.
  """

  def __init__(
    self,
    folder: Path | None,
    *,
    screen: ScreenLike,
    start: int,
    simulations: int,
    frames: int,
    devices: int,
    updates: int,
    skipped: int,
    seconds: float,
    pending: Sums,
    track: Callable[[dict[str, float]], None] = lambda row: None,
  ):
    self._screen, self._track = screen, track
    self._journal = self._events = None
    self._simulations, self._frames, self._devices = simulations, frames, devices
    self.env_steps, self.updates, self.skipped = start, updates, skipped
    self.seconds, self.pending = seconds, dict(pending)
    # Agent steps, gradient steps and seconds of training since the last row.
    self._since = (0, 0, 0.0)
    self._clock = time.perf_counter()
    if folder:
      self._journal = Journal(folder / "metrics.jsonl", self.say)
      self._events = Events(folder, start, self.seconds, self.say)
    self._seen: dict[str, float] = {}  # the newest values of the metrics in `SHOWN`

  def __enter__(self) -> "Reporter":
    return self

  def __exit__(self, *_: Any) -> None:
    if self._journal and (lost := self._journal.lost()):
      self.say(f"warning: {lost}")
    self._screen.close()
    if self._events:
      self._events.close()

  def add(self, env_steps: int, metrics: Metrics) -> None:
    """Accumulates the metrics of the round that ended at `env_steps`; waits for it to finish."""
    new = sums(metrics)
    # The loss has weight 1 per gradient step and device. Without gradient steps it is absent.
    updates = round(new.get("loss/total", (0, 0))[1] / self._devices)
    self.pending = add(self.pending, new)
    now = time.perf_counter()
    since = (env_steps - self.env_steps, updates, now - self._clock)
    self._since = tuple(a + b for a, b in zip(self._since, since, strict=True))
    self.updates += updates
    self.skipped += round(new.get("learner/skipped", (0, 0))[0] / self._devices)
    self.seconds += now - self._clock
    self._clock = now
    self.env_steps = env_steps
    self._screen.advance(env_steps, since[2])
    self._seen |= {name: x for name, x in means(new).items() if name in SHOWN}
    self._show()

  def resume_clock(self) -> None:
    """Excludes the time since the last round from the rates of training, but not from `seconds`.

    Called after something other than training, such as a save or an evaluation.
    """
    now = time.perf_counter()
    self.seconds += now - self._clock
    self._clock = now

  def write(self) -> dict[str, float]:
    """Writes a row with the means since the last one, resets the sums, and returns the row."""
    steps, updates, seconds = self._since
    rate = steps / max(seconds, 1e-9)
    row = {
      "env_steps": self.env_steps,
      "frames": self.env_steps * self._frames,
      "updates": self.updates,
      "seconds": round(self.seconds, 3),
      "env_steps_per_second": rate,
      "simulations_per_second": rate * self._simulations,
      "updates_per_second": updates / max(seconds, 1e-9),
      **held(),
      **means(self.pending),
      **derived(self.pending),
    }
    row = {
      name: float(f"{value:.6g}") if isinstance(value, float) else value
      for name, value in row.items()
    }
    if self._journal and self._events:
      self._journal.append(row)
      self._events.add(row)
      self._track(row)
      self._print(row)
    self.pending, self._since = {}, (0, 0, 0.0)
    return row

  def _show(self) -> None:
    """Draws the newest values; an episode that ended counts until the next one ends."""
    known = {label: self._seen[name] for name, label in SHOWN.items() if name in self._seen}
    self._screen.show(known | {"gradient steps": self.updates})

  def _print(self, row: dict[str, float]) -> None:
    """Prints a row where there is no terminal."""
    if self._screen.lines:
      shown = {label: row[name] for name, label in SHOWN.items() if name in row}
      shown |= {"steps/s": row["env_steps_per_second"]}
      facts = [f"{label} {value:.4g}" for label, value in shown.items()]
      facts += [self._screen.left] if self._screen.left else []
      print(
        f"{row['env_steps']:>10,} steps  {row['seconds']:>8.1f} s  {'  '.join(facts)}", flush=True
      )

  def enter(self, phase: str, sentence: str = "") -> None:
    """Says what is waited for from here on: `Screen.enter`."""
    self._screen.enter(phase, sentence)

  def say(self, text: str) -> None:
    """Prints a line, on a terminal above what is drawn."""
    self._screen.say(text)
