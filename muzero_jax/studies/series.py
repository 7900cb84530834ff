"""Trains runs in processes, the seeds of one agent together, and prints their progress."""

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from muzero_jax import config as configs
from muzero_jax import rules
from muzero_jax.config import Config, ConfigError, FailedError
from muzero_jax.runs import signals, workdir
from muzero_jax.runs.progress import duration
from muzero_jax.studies.process import TrainingProcess, own_device

PAUSE = 5.0  # seconds between two looks at how far runs are


def base(options: Config, seeds: Sequence[int]) -> Config:
  """The settings that all runs have, of a command whose options contain those of a run.

  Its `workdir` is absolute, with ~ expanded.

  Args:
    options: of the command.
    seeds: of the runs, in ascending order.

  Raises:
    ConfigError: the runs would have no folder, or no evaluation to be compared by, or a seed is out
      of range.
  """
  if not options.workdir:
    raise ConfigError("--workdir is missing: name the folder that the runs' folders are made in.")
  if not options.evaluation.episodes:
    raise ConfigError(
      "--evaluation.episodes=0: the runs are compared by their evaluations; ask for one episode at "
      "least."
    )
  configs.check_ranges(dataclasses.replace(options, seed=seeds[-1]))  # the largest seed
  place = str(workdir.place(options.workdir))
  return configs.replace(configs.of_run(options), {"workdir": place})


@dataclasses.dataclass
class SeriesProgress:
  """How far all runs are, and how long they will take."""

  runs: int
  over: int = 0  # runs that are finished, or have failed
  trained: float = 0.0  # runs that this process has trained, with the done shares of current ones
  seconds: float = 0.0  # that it took
  failed: list[str] = dataclasses.field(default_factory=list)  # folders of those that have failed

  def left(self, current: float = 0.0) -> str:
    """The time left in words, if so much of the current runs is done; "" if it is not known yet."""
    if self.trained <= 0:
      return ""
    rest = (self.runs - self.over - current) * self.seconds / self.trained
    return f", about {duration(rest)} left" if rest > 0 else ""


def groups(runs: Sequence[Config]) -> list[list[Config]]:
  """The runs, in their order, in groups of those that can be trained side by side.

  These are seeds of one agent in an environment written in JAX, in DIR/SEED. Others are alone.
  """
  found: list[list[Config]] = []
  for run in runs:
    before = found[-1][-1] if found else run
    alike = configs.replace(run, {"seed": before.seed, "workdir": before.workdir}) == before
    follows = (
      run.seed == before.seed + 1 and Path(run.workdir).parent == Path(before.workdir).parent
    )
    if alike and follows and run.env.kind in rules.IN_JAX:
      found[-1].append(run)
    else:
      found.append([run])
  return found


def train(groups: Sequence[list[Config]], progress: SeriesProgress, parallel: int = 1) -> None:
  """Trains or resumes those runs that are not finished.

  A signal ends all of them, after they have saved a checkpoint, and then this process. If one ends
  with an error, its folder is added to `progress.failed`, and the others are trained. Runs that
  were trained side by side are trained alone instead, after all others, so that one that fails does
  not keep the other seeds from their end.

  Args:
    groups: of runs; each gets a process.
    progress: of all runs, of which these may be a part.
    parallel: number of processes at the same time, each with a GPU of its own if there are so many.

  Raises:
    ConfigError: one of them has refused its settings, before any has ended well; the others are
      stopped.
  """
  begun, trained, seconds = time.monotonic(), progress.trained, progress.seconds
  waiting = unfinished(groups, progress.over + 1, progress)
  processes: dict[int, TrainingProcess] = {}  # by number, 0 .. parallel - 1
  with stopped_together(processes) as stop:
    while True:
      if stop.signal:  # nobody reads the output any more
        raise signals.Stopped(128 + stop.signal)
      for number in range(parallel):
        if number not in processes and (process := next(waiting, None)):
          processes[number] = process
          process.start(own_device(number, parallel))
      if not processes:
        return
      wait(list(processes.values()))
      progress.seconds = seconds + time.monotonic() - begun
      progress.trained = trained + sum(process.trained for process in processes.values())
      for number, process in list(processes.items()):
        if not process.ended:
          process.show(progress.left(sum(process.over for process in processes.values())))
          continue
        outcome = process.outcome(proven=progress.over > len(progress.failed))
        trained += process.trained
        if process.failed and len(process.runs) > 1:
          outcome = f"those that are not finished are trained alone, because it {outcome}"
          alone = unfinished([[run] for run in process.runs], process.first, progress)
          waiting = itertools.chain(waiting, alone)
        else:
          progress.over += len(process.runs)
          progress.failed += [process.config.workdir] if process.failed else []
        del processes[number]
        took = duration(time.monotonic() - process.begun)
        left = progress.left(sum(process.over for process in processes.values()))
        print(f"{process.title}: {outcome} ({took}{left})", flush=True)


def check(failed: Sequence[str]) -> None:
  """Checks that no runs have failed, which a command does when the others are scored.

  Args:
    failed: the folders of those that have.

  Raises:
    FailedError: there are some.
  """
  if failed:
    raise FailedError(
      f"these runs failed: {', '.join(failed)}. What they printed is in files of the same names "
      "with .log; the same command tries them again, from their newest checkpoints, and with a "
      "higher --skip_nonfinite they may go on past gradient steps that diverged."
    )


def unfinished(
  groups: Sequence[list[Config]], first: int, progress: SeriesProgress
) -> Iterator[TrainingProcess]:
  """Processes for those groups with runs to train; those without are counted as over.

  `first` is the number of the first run, counted from 1.
  """
  for runs in groups:
    process = TrainingProcess(runs, first, progress.runs)
    first += len(runs)
    if process.waiting:
      yield process
    else:
      progress.over += len(runs)
      print(f"{process.title} {'is' if len(runs) == 1 else 'are'} finished already", flush=True)


class Stoppable(Protocol):
  """A process, or what stands for one: `terminate` lets it save and end, `wait` waits for that."""

  def terminate(self) -> None: ...
  def wait(self) -> Any: ...


@contextlib.contextmanager
def stopped_together(processes: Mapping[int, Stoppable]) -> Iterator[signals.Stop]:
  """Where a signal, or an error, lets all processes save a checkpoint and end."""
  with signals.handled() as stop:
    stop.unsaved = True  # a signal ends this process after the runs have saved checkpoints
    try:
      with stop.interruptible():
        yield stop
    finally:
      for process in processes.values():
        process.terminate()
      for process in processes.values():
        process.wait()
      stop.unsaved = False


def wait(processes: list[TrainingProcess]) -> None:
  """Waits until one of the processes has ended, for a few seconds at most."""
  until = time.monotonic() + PAUSE
  while time.monotonic() < until and not any(process.ended for process in processes):
    time.sleep(0.1)
