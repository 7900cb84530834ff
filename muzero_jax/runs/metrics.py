"""What is reported of a run: metrics.jsonl, TensorBoard events, and a bar or lines for whoever
watches.
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

_SHOWN = {
  "episode/return": "return",
  "loss/total": "loss",
  "env_steps_per_second": "steps/s",
  "simulations_per_second": "sims/s",
  "updates_per_second": "updates/s",
  "replay/age": "age",
}


def sums(metrics: Metrics) -> Sums:
  """Over devices, on the host: f32[D, 2] each -> (sum, weight). Waits for the program that computes
  them.
  """
  host = {name: np.asarray(x, np.float64).sum(0) for name, x in jax.device_get(metrics).items()}
  return {name: (float(total), float(weight)) for name, (total, weight) in host.items()}


def add(a: Sums, b: Sums) -> Sums:
  """The sums of both."""
  return {
    name: (a.get(name, (0, 0))[0] + s, a.get(name, (0, 0))[1] + w) for name, (s, w) in b.items()
  }


def means(total: Sums) -> dict[str, float]:
  """sum / weight of what was seen at all."""
  return {name: s / w for name, (s, w) in total.items() if w > 0}


def append(path: Path, row: dict[str, Any]) -> None:
  """Adds one JSON object to a .jsonl file, in one write, so that a kill leaves at most one torn
  line.
  """
  with open(path, "a") as file:
    file.write(json.dumps(row) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
  """All whole lines of a .jsonl file; [] when there is none."""
  if not path.exists():
    return []
  rows = []
  for line in path.read_text().splitlines():
    try:
      rows.append(json.loads(line))
    except json.JSONDecodeError:
      continue  # torn by a kill
  return rows


def forget(path: Path, after: int) -> None:
  """Drops what was written after the checkpoint that a run goes on from: rows of more than `after`
  env_steps.
  """
  if path.exists():
    kept = [row for row in read(path) if row.get("env_steps", 0) <= after]
    new = path.with_suffix(".tmp")
    new.write_text("".join(json.dumps(row) + "\n" for row in kept))
    os.replace(new, path)


class Reporter:
  """Collects what rounds report, and writes a row now and then.

  Args:
    workdir: where metrics.jsonl and the events go.
    total: env_steps at the end.
    start: env_steps done before.
    simulations: per agent step.
    frames: per agent step.
    devices: that report.
    updates: gradient steps done before.
    seconds: wall-clock time of the run so far.
    pending: what was collected since the last row.
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
    self._since = (
      0,
      0,
      0.0,
    )  # agent steps, gradient steps and seconds of training since the last row
    self._clock = time.perf_counter()
    self._events = SummaryWriter(str(workdir), purge_step=start if start else None)
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
    """Takes the metrics of the round that ended at `env_steps`; waits for it."""
    new = sums(metrics)
    updates = round(
      new.get("loss/total", (0, 0))[1] / self._devices
    )  # without a learner there is no loss
    self.pending = add(self.pending, new)
    now = time.perf_counter()
    since = (env_steps - self.env_steps, updates, now - self._clock)
    self._since = tuple(a + b for a, b in zip(self._since, since, strict=True))
    self.updates += updates
    self.seconds += now - self._clock
    self._clock = now
    self._bar.update(env_steps - self.env_steps)
    self.env_steps = env_steps

  def resume_clock(self) -> None:
    """What happened since the last round (a save, an evaluation) took wall-clock time, but was not
    training.
    """
    now = time.perf_counter()
    self.seconds += now - self._clock
    self._clock = now

  def write(self) -> dict[str, float]:
    """Writes a row and starts to collect anew."""
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
    """A line beside the bar."""
    tqdm.write(text) if not self._bar.disable else print(text, flush=True)
