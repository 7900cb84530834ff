"""Trains several seeds side by side: one compiled program, mapped over the seeds.

For environments written in JAX. Each seed is a run like any other, in a folder of its own, which
can be resumed, evaluated and reported alone.
"""

import contextlib
import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from muzero_jax import config as configs
from muzero_jax import rules
from muzero_jax.benchmark import memory
from muzero_jax.config import Config, ConfigError
from muzero_jax.device import parallel
from muzero_jax.evaluation import aggregate
from muzero_jax.loop import Local, Shared
from muzero_jax.reporting import page
from muzero_jax.runs import workdir
from muzero_jax.runs.metrics import SHOWN, Reporter
from muzero_jax.runs.progress import Screen, SeedScreen
from muzero_jax.runs.signals import Stop, Stopped
from muzero_jax.runs.state import State
from muzero_jax.train import RoundLength, Training, compiled, opened, until_stopped


def train(config: Config, seeds: Sequence[int]) -> int:
  """Trains a run for each seed, in `config.workdir`/SEED, or resumes those that are there.

  Runs that are behind the others are trained first, until they are as far. Those that are as long
  as asked for stay as they are. A report about all is written to `config.workdir`/report.html.

  Returns:
    The exit code of the process: 0, or 128 + the number of the signal that stopped the runs, after
    saving checkpoints.

  Raises:
    ConfigError: the settings are invalid, do not fit the runs in the folders, or the environment is
      not one written in JAX.
    DivergedError: gradient steps of a run diverged, more of them than --skip_nonfinite allows.
    StorageError: a last checkpoint, or the outputs of a finished run, cannot be written.
  """
  if config.env.kind not in rules.IN_JAX:
    kinds = ", ".join(rules.IN_JAX)
    raise ConfigError(
      f"--seeds={len(seeds)}: only environments written in JAX (--env.kind={kinds}) "
      "can be trained side by side; leave out --seeds, and start a run for each --seed."
    )
  if not config.workdir:
    raise ConfigError("--workdir is missing: name the folder that the runs' folders are made in.")
  each = [
    dataclasses.replace(config, seed=seed, workdir=f"{config.workdir}/{seed}") for seed in seeds
  ]
  configs.check_ranges(each[-1])  # the largest seed

  def work(stop: Stop) -> int:
    with contextlib.ExitStack() as stack:
      runs = [stack.enter_context(opened(one, stop, quiet=True)) for one in each]
      return _train(runs, workdir.place(config.workdir))

  return until_stopped(work)


def _train(runs: list[Training], folder: Any) -> int:
  stop = runs[0].stop

  def close() -> None:
    with contextlib.ExitStack() as stack:  # of all, even if that of one fails
      for run in runs:
        stack.callback(run.checkpoints.close)

  stop.before_exit = close
  for run in runs:
    run.begin()
    run.check_warmup()
    run.check_resets()
    run.scoring.players = runs[0].scoring.players
  while not stop.signal and (unfinished := [run for run in runs if run.ticks < run.total]):
    least = min(run.ticks for run in unfinished)
    until = min((run.ticks for run in unfinished if run.ticks > least), default=runs[0].total)
    Group([run for run in unfinished if run.ticks == least]).train(until)
  if stop.signal and not any(run.problem for run in runs):
    return runs[0].end()
  for run in runs:
    run.end()
  report = page.write([run.folder for run in runs], folder / "report.html")
  print(f"{summary(runs)}\nreport: {report}", flush=True)
  return 0


def summary(runs: list[Training]) -> str:
  """A sentence with the mean over seeds of what the evaluations after the last step say."""
  first = runs[0]
  text = f"{len(runs)} seeds of {first.scoring.task} after {first.env_steps:,} steps"
  if not first.config.evaluation.episodes:
    return text
  means = [
    aggregate.newest_evaluation(str(run.folder), "trained", "auto").row["mean"] for run in runs
  ]
  each = ", ".join(f"{mean:.2f}" for mean in means)
  return f"{text}: mean return {statistics.fmean(means):.2f} ({each})"


class Group:
  """Runs that are equally far and differ in their seed only.

  Their states are stacked: shared ones along axis 0, local ones along axis 1, behind that of the
  devices.

  Args:
    runs: at least one.
  """

  def __init__(self, runs: list[Training]):
    self.runs, self.first = runs, runs[0]
    self.stop, self.devices = self.first.stop, self.first.run.devices
    memory.check(self.first.run, len(runs))  # stacking copies their replays
    self.state = stacked([run.state for run in runs], self.devices)

  def train(self, until: int) -> None:
    """Trains all runs until they have done so many ticks, or until a signal, and saves them."""
    first, names = self.first, [f"seed {run.config.seed}" for run in self.runs]
    screen = Screen(first.total * first.run.width, first.env_steps)
    with contextlib.ExitStack() as stack:
      stack.callback(screen.close)
      reporters = [
        stack.enter_context(run.reporter(SeedScreen(name, screen)))
        for run, name in zip(self.runs, names, strict=True)
      ]
      self._release()
      screen.enter("compiling", f"compiling a program for {', '.join(names)} ...")
      program = compiled(first.run.loop.run_seeds, self.state, self.devices)
      for reporter in reporters:
        reporter.resume_clock()
      self._rounds(program, until, reporters, screen)
      self._part()
      self._save(reporters)

  def _rounds(self, program: Any, until: int, reporters: list[Reporter], screen: Screen) -> None:
    first, length = self.first, RoundLength()
    while first.ticks < until and not self.stop.signal:
      screen.enter(*first.phase())
      self.stop.unsaved = True
      ticks = length.choose(min(first.next_event(), until) - first.ticks)
      shared, local, new = program(self.state.shared, self.state.local, np.int32(ticks))
      self.state = State(shared, local)
      for run in self.runs:
        run.ticks += ticks
      self._collect(new, reporters, screen)
      length.adapt(ticks)
      if first.ticks == first.warm:
        length.restart()
      if first.due(first.config.save_every) or first.due(first.config.evaluate_every):
        self._save_and_evaluate(reporters)

  def _collect(self, new: Any, reporters: list[Reporter], screen: Screen) -> None:
    """Reports the metrics of a round: those of each run in its folder, and all on the screen."""
    new = jax.device_get(new)
    if any(x[..., 0].sum() for name, x in new.items() if name == "learner/skipped"):
      self._part()  # what a run says of it needs its state
    before = reporters[0].seconds
    rows = [
      run.collect(reporter, run.env_steps, {name: x[:, i] for name, x in new.items()})
      for i, (run, reporter) in enumerate(zip(self.runs, reporters, strict=True))
    ]
    screen.advance(self.first.env_steps, reporters[0].seconds - before)
    if all(rows):
      show(rows, screen)

  def _save_and_evaluate(self, reporters: list[Reporter]) -> None:
    """Saves and evaluates, if due; a signal ends the evaluation."""
    first = self.first
    self._part()
    evaluating = first.due(first.config.evaluate_every) and first.ticks < first.total
    if first.due(first.config.save_every) or (evaluating and not first.scoring.compiled):
      self._save(reporters)
    with contextlib.suppress(Stopped):
      for run, reporter in zip(self.runs if evaluating else (), reporters, strict=False):
        with self.stop.interruptible():
          run.evaluate(reporter)
    self._release()
    for reporter in reporters:
      reporter.resume_clock()

  def _save(self, reporters: list[Reporter]) -> None:
    """Saves all runs; a signal before the last one is saved waits for that."""
    for run, reporter in zip(self.runs, reporters, strict=True):
      self.stop.unsaved = True
      run.save(reporter)
    self.stop.unsaved = any(run.problem for run in self.runs)

  def _part(self) -> None:
    """Gives each run its state."""
    for i, run in enumerate(self.runs):
      run.state = part(self.state, i, self.devices)

  def _release(self) -> None:
    """Takes their states from the runs until `_part`: copies of replays are large."""
    for run in self.runs:
      del run.state


def stacked(states: list[State], devices: Mesh) -> State:
  """The states of several runs as one: shared ones along axis 0, local ones along axis 1."""
  shared = jax.tree.map(lambda *x: jnp.stack(x), *(state.shared for state in states))
  local = jax.tree.map(lambda *x: jnp.stack(x, 1), *(state.local for state in states))
  return State(parallel.replicate(shared, devices), parallel.split(local, devices))


def part(state: State, number: int, devices: Mesh) -> State:
  """The state of one of the runs that were `stacked`."""
  shared: Shared = jax.tree.map(lambda x: x[number], state.shared)
  local: Local = jax.tree.map(lambda x: x[:, number], state.local)
  return State(parallel.replicate(shared, devices), parallel.split(local, devices))


def show(rows: list[dict[str, float]], screen: Screen) -> None:
  """Shows the means over runs, and their ranges, of what a run shows."""
  known = [name for name in SHOWN if all(name in row for row in rows)]
  means = {SHOWN[name]: statistics.fmean(row[name] for row in rows) for name in known}
  rate = sum(row["env_steps_per_second"] for row in rows)
  if not screen.lines:
    screen.show(means | {"all steps/s": rate})
    return
  facts = [
    f"{SHOWN[name]} {means[SHOWN[name]]:.4g} ({min(row[name] for row in rows):.4g} to "
    f"{max(row[name] for row in rows):.4g})"
    for name in known
  ]
  facts += [f"steps/s {rate:.4g} in all", screen.left]
  first = rows[0]
  text = "  ".join(filter(None, facts))
  print(f"{first['env_steps']:>10,} steps  {first['seconds']:>8.1f} s  {text}", flush=True)
