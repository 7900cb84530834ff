"""The host's side of training: runs the compiled loop, logs, evaluates, saves, handles signals.

The host calls the program in rounds of many ticks. While the device computes a round, the host
processes the metrics of the round before; on a GPU it does so between two rounds.

Where several processes train together, each runs all of this at the same time; what is written or
evaluated, process 0 does alone.
"""

import contextlib
import ctypes
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from muzero_jax import build
from muzero_jax import config as configs
from muzero_jax.benchmark import memory
from muzero_jax.build import Run
from muzero_jax.config import Config, ConfigError, DivergedError, StorageError
from muzero_jax.device import distributed, parallel
from muzero_jax.evaluation.scores import sentence
from muzero_jax.evaluation.scoring import Scoring
from muzero_jax.learner import EVIDENCE
from muzero_jax.reporting import board, tracker
from muzero_jax.reporting.final import finish
from muzero_jax.runs import actions, diverged, metrics, rollback, signals, storage, workdir
from muzero_jax.runs.checkpoint import Checkpoints
from muzero_jax.runs.progress import FILLING, Screen, ScreenLike, fitted
from muzero_jax.runs.saved import Saved
from muzero_jax.runs.signals import Stop, Stopped
from muzero_jax.runs.state import State, begin

# Target duration of a round. Signals and the progress bar are handled between rounds.
ROUND_SECONDS = 2.0


def train(config: Config) -> int:
  """Trains as configured, or resumes the run in `config.workdir`.

  Returns:
    The exit code of the process: 0, or 128 + the number of the signal that stopped the run, after
    saving a checkpoint.

  Raises:
    ConfigError: the settings are invalid, or do not fit the run in the folder.
    DivergedError: gradient steps diverged, more of them than --skip_nonfinite allows.
    StorageError: the last checkpoint, or the outputs of the finished run, cannot be written.
  """
  return until_stopped(lambda stop: _train(config, stop))


def until_stopped(work: Callable[[Stop], int]) -> int:
  """Calls `work`, and returns its exit code, or that of a signal that ended it."""
  with signals.handled() as stop:
    try:
      return work(stop)
    except Stopped as stopped:
      print(stop.message or "stopped before the first step.", flush=True)
      return int(stopped.code or 0)


def _train(config: Config, stop: Stop) -> int:
  with opened(config, stop) as training:
    return training.go()


@contextlib.contextmanager
def opened(config: Config, stop: Stop, quiet: bool = False) -> Iterator["Training"]:
  """A run in its folder, which is locked: a new one, or from its newest checkpoint.

  Args:
    config: the settings.
    stop: handles signals.
    quiet: do not print how much memory it takes.

  Raises:
    ConfigError: the settings are invalid, or do not fit the run in the folder.
  """
  distributed.check_same(configs.values(config))
  tracker.check(config)
  folder, lock = _opened(config)
  with lock, Checkpoints(folder, config.checkpoint.keep) as checkpoints:

    def prepare(saved: Saved | None = None) -> Training:
      if saved:
        workdir.compare(config, folder)
      else:  # it starts anew, and settings may change
        rollback.check_nothing_is_lost(config, folder)
      run = build.build(config, actions.begun(config, saved) if saved else 0)
      for said in (memory.check(run), memory.shares(run), *actions.caution(run)):
        if not quiet:
          print(fitted(said), flush=True)
      return Training(config, folder, lock, run, checkpoints, saved, stop)

    training = checkpoints.load(prepare) or prepare()
    own = f"{checkpoints.current:,} steps" if checkpoints.current else "the beginning"
    if (first := distributed.agreed(own)) != own:
      raise ConfigError(
        f"--workdir={config.workdir}: process 0 goes on from {first} and this process, which could "
        f"not read the same checkpoint, from {own}: start all of them again, on a file system that "
        "all hosts can read."
      )
    if distributed.is_first():
      workdir.describe(config, folder)
    try:
      yield training
    finally:
      training.tracker.close()


def _opened(config: Config) -> tuple[Path, workdir.Lock]:
  """The run's folder, and its lock, which process 0 holds for all.

  Raises:
    ConfigError: `workdir.open_workdir` does, or the processes do not see the same folder.
  """
  if distributed.is_first():
    folder, lock = workdir.open_workdir(config)
  else:
    folder, lock = workdir.place(config.workdir), workdir.Lock()
  if distributed.processes() == 1:
    return folder, lock

  def seen() -> list[int]:
    return Checkpoints(folder).steps()

  if distributed.agreed(seen()) != seen() or not (folder / ".lock").exists():
    raise ConfigError(
      f"--workdir={config.workdir}: this process does not see there what process 0 sees; name a "
      "folder on a file system that all hosts share."
    )
  distributed.wait()
  return folder, lock


def compiled(run: Callable, state: State, devices: Mesh) -> Any:
  """Compiles a loop ahead of time; other shapes would be an error, not a recompilation.

  Args:
    run: `Loop.run_ticks`, or `Loop.run_seeds`.
    state: on the devices, with the shapes that `run` will be called with.
    devices: the mesh.
  """
  program = parallel.pmapped(run, devices, donate=(0, 1))
  executable = program.lower(state.shared, state.local, np.int32(0)).compile()
  return_memory()
  return executable


def return_memory() -> None:
  """Gives memory that this process has freed back to the system.

  Otherwise glibc keeps most of what the compiler has used, 0.5 GiB for Pong, for hours.
  """
  with contextlib.suppress(OSError, AttributeError):  # another C library
    ctypes.CDLL(None).malloc_trim(0)


class RoundLength:
  """Chooses the number of ticks per round so that a round takes about `ROUND_SECONDS`.

  A round has at most twice as many ticks as the round before.
  """

  def __init__(self):
    self.restart()

  def restart(self) -> None:
    """Returns to short rounds, when ticks are about to become slower by an unknown factor."""
    self._ticks, self._clock = 8, time.perf_counter()

  def choose(self, limit: int) -> int:
    """The number of ticks of the next round, at most `limit`."""
    return min(self._ticks, limit)

  def adapt(self, ticks: int) -> None:
    """Adapts to the time that a round of `ticks` took; call it when the round has ended."""
    now = time.perf_counter()
    wanted = int(ticks / max(now - self._clock, 1e-6) * ROUND_SECONDS)
    self._ticks, self._clock = max(1, min(wanted, 2 * self._ticks)), now


class Training:
  """A run in this process, from its start or its newest checkpoint to its end or a signal."""

  def __init__(
    self,
    config: Config,
    folder: Path,
    lock: workdir.Lock,
    run: Run,
    checkpoints: Checkpoints,
    saved: Saved | None,
    stop: Stop,
  ):
    self.config, self.folder, self.run, self.checkpoints = config, folder, run, checkpoints
    self.lock, self.stop = lock, stop
    self.problem = ""  # why the newest checkpoint could not be saved
    self.total = -(-config.env_steps // run.width)  # ticks
    initial = begin(run, saved)
    self.state, self.progress, self.actions = initial.state, initial.progress, initial.actions
    self.ticks = int(self.state.shared.ticks)
    # The tick at which learning starts.
    self.warm = self.ticks + run.loop.warmup - int(parallel.one(self.state.local.replay.head))
    self.scoring = Scoring(config, folder, run.loop.model, run.loop.search)
    self.tracker: tracker.Tracker = tracker.Nothing()

  @property
  def env_steps(self) -> int:
    """Agent steps done, over all devices."""
    return self.ticks * self.run.width

  def go(self) -> int:
    """Trains to the end, or until a signal; returns the exit code."""
    self.stop.before_exit = self.checkpoints.close
    self.begin()
    self._say_when_learning_resumes()
    self.check_warmup()
    self.check_resets()
    if self.ticks < self.total:
      with self.reporter() as reporter:
        self._rounds(reporter)
    return self.end()

  def begin(self) -> None:
    """What comes before the first round of a run, or of the part that is still to be done."""
    self.nothing_unsaved()
    if self.ticks >= self.total:
      done = f"This run has done its {self.env_steps:,} steps"
      print(f"{done}; ask for more with --env_steps.", flush=True)
    if distributed.is_first():
      rollback.forget(self.folder, self.env_steps)
      self.tracker = tracker.opened(self.config, self.folder, self.env_steps)

  def end(self) -> int:
    """What comes after the last round: the outputs of a finished run; returns the exit code.

    Raises:
      StorageError: the last checkpoint, or the outputs, cannot be written.
    """
    stop = self.stop
    stop.unsaved = False  # or it cannot be saved
    if stop.signal and not self.problem:
      print(stop.message, flush=True)
      return 128 + stop.signal
    if not stop.signal and distributed.is_first():
      finish(self.scoring, self.params(), self.env_steps)
      self.tracker.show()
    distributed.wait()
    if self.problem:
      raise StorageError(f"{self.problem}: {self.checkpoints.remedy()}")
    return 0

  def _say_when_learning_resumes(self) -> None:
    """Says from which step on a run that goes on learns."""
    if self.ticks and self.ticks < self.total and self.config.learner.updates_per_step:
      when = f"at {self.warm * self.run.width:,} steps, once the replay is filled again"
      now = self.warm <= self.ticks
      print(f"learning resumes {'at once, from the saved replay' if now else when}", flush=True)

  def check_resets(self) -> None:
    """Says it if there are to be resets, and the run ends before the first one."""
    resets = self.run.loop.learner.resets
    if resets and not resets.count and self.total > self.ticks:
      print(
        f"warning: nothing will be reset, because this run takes about "
        f"{build.gradient_steps(self.config):,} gradient steps, and the last {resets.period:,} are "
        "left for recovering: lower --learner.reset_every or raise --env_steps.",
        flush=True,
      )

  def check_warmup(self) -> None:
    """Says it if the run ends before its first gradient step."""
    if self.warm >= self.total > self.ticks and self.config.learner.updates_per_step:
      steps = (self.warm - self.ticks) * self.run.width
      print(
        f"warning: nothing will be learned, because the run ends before its warm-up, which takes "
        f"{steps:,} steps: lower --replay.warmup or raise --env_steps.",
        flush=True,
      )

  def nothing_unsaved(self) -> None:
    """From here to the next round, a signal may end the process at once."""
    self.stop.message = (
      f"stopped at {self.env_steps:,} steps; run the same command again to resume."
    )
    self.stop.unsaved = False

  def _rounds(self, reporter: metrics.Reporter) -> None:
    program = self._compile(reporter)
    reporter.resume_clock()
    length, waiting, stop = RoundLength(), None, self.stop
    while ticks := self._next_round(length):
      stop.unsaved = True
      if not waiting:  # else the round before is reported first, below
        reporter.enter(*self.phase())
      shared, local, new = program(self.state.shared, self.state.local, np.int32(ticks))
      self.state = State(shared, local)
      if waiting:
        self._collect(reporter, *waiting, length)
        reporter.enter(*self.phase())
      self.ticks += ticks
      if self.actions and self.ticks == self.actions.limit:
        self.actions.collect(self.state.local, self.ticks)
      waiting = (self.env_steps, ticks, new)
      pause = self.due(self.config.save_every) or self.due(self.config.evaluate_every)
      # On a GPU the host runs the program's loops: the call above returns at the end of the round.
      if pause or self.run.target.platform == "gpu":
        waiting = self._collect(reporter, *waiting, length)
      if self.ticks == self.warm:
        length.restart()
      if pause:
        self.save_and_evaluate(reporter)
    if waiting:
      self._collect(reporter, *waiting, length)
    tried = self.problem and self.due(self.config.save_every)  # just now, in vain
    if self.ticks and not tried:
      self.save(reporter)

  def _next_round(self, length: RoundLength) -> int:
    """The ticks of the next round, which process 0 decides for all; 0: there is no other round."""
    ticks = 0
    if self.ticks < self.total and not self.stop.signal:
      ticks = length.choose(self.next_event() - self.ticks)
    ticks, signal = distributed.agreed([ticks, int(self.stop.signal)])
    if signal and not ticks:
      self.stop.note(signal)
    return ticks

  def phase(self) -> tuple[str, str]:
    """What the round that begins now does, in a word or two, and in a sentence for a log."""
    if not self.config.learner.updates_per_step:
      return "acting", "acting, without gradient steps"
    if self.ticks < self.warm:
      starts = f"learning starts at {self.warm * self.run.width:,} steps"
      return FILLING, f"{FILLING}; {starts}" if self.warm < self.total else FILLING
    return "learning", f"learning from {self.env_steps:,} steps on"

  def _compile(self, reporter: metrics.Reporter) -> Callable:
    """Compiles the loop, and says how long that took."""
    reporter.enter("compiling", "compiling ...")
    begun = time.perf_counter()
    program = compiled(self.run.loop.run_ticks, self.state, self.run.devices)
    temporary = program.memory_analysis()
    also = (
      f", temporary memory {temporary.temp_size_in_bytes / memory.MIB:,.1f} MiB"
      if temporary
      else ""
    )
    reporter.say(f"compiled in {time.perf_counter() - begun:.0f} s{also}")
    return program

  def _collect(
    self, reporter: metrics.Reporter, env_steps: int, ticks: int, new: Any, length: RoundLength
  ) -> None:
    """Waits for the end of a round, adds its metrics to the report, and chooses the next length."""
    self.collect(reporter, env_steps, new)
    length.adapt(ticks)

  def collect(self, reporter: metrics.Reporter, env_steps: int, new: Any) -> dict[str, float]:
    """Adds the metrics of the round that ended at `env_steps` to the report.

    Returns:
      The row that was written; {} if none was due.

    Raises:
      DivergedError: more gradient steps diverged than may be skipped.
      StorageError: the folder is now another run's.
    """
    self.lock.check()
    evidence = {name: new.pop(name) for name in list(new) if name.startswith(EVIDENCE)}
    before = reporter.skipped
    reporter.add(env_steps, new)
    if reporter.skipped > before:
      self._skipped(reporter, evidence)
    if (
      env_steps // self.run.width % self._period(self.config.log_every) == 0
      or env_steps >= self.total * self.run.width
    ):
      return reporter.write()
    return {}

  def _skipped(self, reporter: metrics.Reporter, evidence: dict[str, Any]) -> None:
    """Says that gradient steps have diverged.

    Raises:
      DivergedError: they are more than may be skipped.
    """
    if np.asarray(evidence[f"{EVIDENCE}found"])[0, 0]:
      self._written(reporter)  # the newest checkpoint, which is named
      newest = self.checkpoints.current
      why = diverged.stopped(self.run, self.state, evidence, self.folder, newest)
      raise DivergedError(why)
    allowed = self.config.skip_nonfinite
    reporter.say(f"skipped a gradient step that diverged: {reporter.skipped} of {allowed} so far")

  def save_and_evaluate(self, reporter: metrics.Reporter) -> None:
    """Saves and evaluates, if due; a signal ends the evaluation."""
    evaluating = self.due(self.config.evaluate_every) and self.ticks < self.total
    # The first evaluation compiles, and a signal can end that only while everything is saved.
    must_save = self.due(self.config.save_every) or (evaluating and not self.scoring.compiled)
    if distributed.agreed(must_save):
      self.save(reporter)
    if evaluating:
      with contextlib.suppress(Stopped), self.stop.interruptible():
        self.evaluate(reporter)
      distributed.wait()
    reporter.resume_clock()

  def evaluate(self, reporter: metrics.Reporter) -> None:
    """Evaluates the agent, says its score and keeps it; process 0 does."""
    if not distributed.is_first():
      return
    row = self.scoring.evaluate(self.params(), self.env_steps)
    if row:
      reporter.say(sentence(row))
      self.scoring.keep(row)
      with contextlib.suppress(OSError, ConfigError):  # the next one, or the end, writes it again
        board.write(self.folder)
        self.tracker.show()

  def _period(self, env_steps: int) -> int:
    """A number of agent steps, in ticks."""
    return max(1, env_steps // self.run.width)

  def due(self, every: int) -> bool:
    """Whether what is done once in `every` agent steps is due now; 0: never."""
    return every > 0 and self.ticks % self._period(every) == 0

  def next_event(self) -> int:
    """The next tick at which a round must end: something is due, or learning starts."""
    config = self.config
    periods = [
      self._period(every)
      for every in (config.log_every, config.save_every, config.evaluate_every)
      if every
    ]
    events = [(self.ticks // period + 1) * period for period in periods]
    events += [self.actions.limit] if self.actions else []
    return min(self.total, *events, *([self.warm] if self.ticks < self.warm else []))

  def params(self) -> Any:
    """The parameters of the search on one device, because evaluation uses only one."""
    return jax.device_put(
      jax.device_get(self.state.shared.learner.variables), jax.local_devices()[0]
    )

  def reporter(self, screen: ScreenLike | None = None) -> metrics.Reporter:
    """Reports what the run learns, on `screen`; by default on one of its own."""
    total = self.total * self.run.width
    return metrics.Reporter(
      self.folder if distributed.is_first() else None,
      screen=screen or Screen(total, self.env_steps),
      start=self.env_steps,
      simulations=self.run.loop.search.simulations,
      frames=max(build.frames_per_step(self.config), 1),
      devices=self.run.devices.size,
      updates=int(self.state.shared.learner.step),
      skipped=int(self.state.shared.learner.skipped),
      seconds=self.progress.get("seconds", 0.0),
      pending=self.progress.get("pending", {}),
      track=self.tracker.add,
    )

  def save(self, reporter: metrics.Reporter) -> None:
    """Starts to save a checkpoint; where that fails, says so and notes it in `problem`."""
    local = self.state.local
    progress = {
      "env_steps": self.env_steps,
      "ticks": self.ticks,
      "begun": self.run.begun,
      "seconds": reporter.seconds,
      "pending": {name: list(pair) for name, pair in reporter.pending.items()},
    }
    self.progress = progress  # for another reporter of this run
    small = dataclasses.replace(local, replay=None)
    replay = local.replay if self.config.checkpoint.replay else None
    self._written(reporter)  # the one before
    self.problem = ""
    self.lock.check()
    try:
      if distributed.is_first() and not (self.folder / "config.json").exists():
        reporter.say(f"warning: {self.folder} was emptied or removed; it is made anew.")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock.check()
        workdir.describe(self.config, self.folder)
      chosen = self._actions()
      self.checkpoints.save(self.env_steps, progress, self.state.shared, small, replay, chosen)
      if self.ticks >= self.total or self.stop.signal:
        self.checkpoints.wait()
    except storage.ERRORS as error:
      self._not_saved(self.env_steps, error, reporter)
    else:
      self.nothing_unsaved()

  def _written(self, reporter: metrics.Reporter) -> None:
    """Waits until the last checkpoint is written; where that failed, says so and forgets it."""
    env_steps = self.checkpoints.current or 0
    try:
      self.checkpoints.wait()
    except storage.ERRORS as error:
      self.stop.unsaved = True
      self._not_saved(env_steps, error, reporter)

  def _not_saved(self, env_steps: int, error: Exception, reporter: metrics.Reporter) -> None:
    """After a checkpoint that could not be saved: says so, and notes it in `problem`.

    Raises:
      StorageError: several processes train together.
      Exception: the error itself, where it came from the loss of another process.
    """
    if distributed.is_loss(error):
      raise error
    self.problem = self.checkpoints.problem(env_steps, error)
    if distributed.processes() > 1:  # only this one may have noticed
      raise StorageError(f"{self.problem}: make room, and start all processes again.") from error
    self.checkpoints.give_up()
    self.stop.abandoned = True
    reporter.say(f"warning: {self.problem}.")

  def _actions(self) -> dict[str, Any] | None:
    """The actions so far, as a checkpoint holds them; None if it does not."""
    if not self.actions:
      return None
    self.actions.collect(self.state.local, self.ticks)
    return self.actions.tree(self.run.devices)
