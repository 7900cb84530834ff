"""Reports the metrics of a run: metrics.jsonl, TensorBoard events, and the terminal.

On a terminal there is a progress bar; where the output is redirected, lines are printed instead.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tensorboardX import SummaryWriter
from tqdm import tqdm

from muzero_jax.diagnostics import derived
from muzero_jax.types import Metrics

Sums = dict[str, tuple[float, float]]  # name -> (sum, weight)

# Metrics that are shown on the terminal, and their labels there.
_SHOWN = {
  "episode/return": "return",
  "loss/total": "loss",
  "env_steps_per_second": "steps/s",
  "simulations_per_second": "sims/s",
  "updates_per_second": "updates/s",
  "replay/age": "age",
}


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


def append(path: Path, row: dict[str, Any]) -> None:
  """Appends a row to a .jsonl file.

  It is a single write, so that a killed process leaves at most one incomplete line.
  """
  with open(path, "a") as file:
    file.write(json.dumps(row) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
  """The rows of a .jsonl file, without incomplete lines; [] when there is no file."""
  if not path.exists():
    return []
  rows = []
  for line in path.read_text().splitlines():
    try:
      rows.append(json.loads(line))
    except json.JSONDecodeError:
      continue  # incomplete, because the process was killed
  return rows


def forget(path: Path, after: int) -> None:
  """Removes the rows of a .jsonl file with more than `after` env_steps.

  A resumed run calls it to remove the rows that were written after its checkpoint was saved.
  """
  if path.exists():
    kept = [row for row in read(path) if row.get("env_steps", 0) <= after]
    new = path.with_suffix(".tmp")
    new.write_text("".join(json.dumps(row) + "\n" for row in kept))
    os.replace(new, path)


def restarted_events(folder: Path, seconds: float) -> SummaryWriter:
  """Begins the only file of TensorBoard events in a run's folder, with the rows of metrics.jsonl.

  The files of earlier starts are deleted: they may have rows from after the checkpoint. A
  TensorBoard that has read them drops what it has of this run.

  Args:
    folder: the run's folder, whose metrics.jsonl ends at the checkpoint.
    seconds: wall-clock time of the run so far, from which the times of the rows are computed.
  """
  for path in folder.glob("events.out.tfevents.*"):
    path.unlink()
  events, now = SummaryWriter(str(folder), purge_step=0), time.time()
  for row in read(folder / "metrics.jsonl"):
    numbers = {name: x for name, x in row.items() if isinstance(x, int | float)}
    then = now - max(seconds - numbers.get("seconds", seconds), 0)
    for name, value in numbers.items():
      events.add_scalar(name, value, int(numbers["env_steps"]), then)
  return events


class Reporter:
  """Accumulates the metrics of training and writes their means as rows.

  A round is the part of training that the device does in one call of the compiled program; `add` is
  called after each. `write` is called whenever a row is due.

  Args:
    workdir: the run's folder, where metrics.jsonl and the TensorBoard events are written.
    total: agent steps at the end of the run.
    start: agent steps done so far; not 0 when the run is resumed.
    simulations: search simulations per agent step.
    frames: emulator frames per agent step.
    devices: number of devices that report metrics.
    updates: gradient steps done so far.
    skipped: gradient steps that diverged and were skipped so far.
    seconds: wall-clock time of the run so far.
    pending: sums accumulated since the last row.
  """

  def __init__(
    self,
    workdir: Path,
    *,
    total: int,
    start: int,
    simulations: int,
    frames: int,
    devices: int,
    updates: int,
    skipped: int,
    seconds: float,
    pending: Sums,
  ):
    self._path = workdir / "metrics.jsonl"
    forget(self._path, start)
    self._simulations, self._frames, self._devices = simulations, frames, devices
    self.env_steps, self.updates, self.seconds, self.pending = (
      start,
      updates,
      seconds,
      dict(pending),
    )
    self.skipped = skipped
    # Agent steps, gradient steps and seconds of training since the last row.
    self._since = (0, 0, 0.0)
    self._clock = time.perf_counter()
    self._events = restarted_events(workdir, self.seconds)
    self._bar = tqdm(
      total=total,
      initial=start,
      unit="step",
      unit_scale=True,
      disable=not sys.stderr.isatty(),
      smoothing=0.1,
    )

  def __enter__(self) -> "Reporter":
    return self

  def __exit__(self, *_: Any) -> None:
    self._bar.close()
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
    self._bar.update(env_steps - self.env_steps)
    self.env_steps = env_steps

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
      **means(self.pending),
      **derived(self.pending),
    }
    row = {
      name: float(f"{value:.6g}") if isinstance(value, float) else value
      for name, value in row.items()
    }
    append(self._path, row)
    for name, value in row.items():
      self._events.add_scalar(name, value, self.env_steps)
    self._events.flush()
    self._show(row)
    self.pending, self._since = {}, (0, 0, 0.0)
    return row

  def _show(self, row: dict[str, float]) -> None:
    shown = {label: f"{row[name]:.4g}" for name, label in _SHOWN.items() if name in row}
    if self._bar.disable:
      facts = "  ".join(f"{label} {value}" for label, value in shown.items())
      print(f"{row['env_steps']:>10,} steps  {row['seconds']:>8.1f} s  {facts}", flush=True)
    else:
      self._bar.set_postfix(shown, refresh=True)

  def say(self, text: str) -> None:
    """Prints a line without disturbing the progress bar."""
    tqdm.write(text) if not self._bar.disable else print(text, flush=True)
