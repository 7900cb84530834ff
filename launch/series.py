"""Trains runs, each in a process, the seeds of one agent together, and prints their progress."""

import contextlib
import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from launch import cli
from muzero_jax import config as configs
from muzero_jax import rules
from muzero_jax.config import Config, ConfigError
from muzero_jax.evaluation import ablation
from muzero_jax.runs import signals, workdir
from muzero_jax.runs.progress import Progress, duration

PAUSE = 5.0  # seconds between two looks at how far runs are


def base(options: Config) -> Config:
  """The settings that all runs have, of a command whose options contain those of a run.

  Raises:
    ConfigError: the runs would have no folder, or no evaluation to be compared by.
  """
  if not options.workdir:
    raise ConfigError("--workdir is missing: name the folder that the runs' folders are made in.")
  if not options.evaluation.episodes:
    raise ConfigError(
      "--evaluation.episodes=0: the runs are compared by their evaluations; ask for one episode at "
      "least."
    )
  return configs.of_run(options)


@dataclasses.dataclass
class Pace:
  """How far all runs are, and how long they will take."""

  runs: int
  over: int = 0  # runs that are finished
  trained: float = 0.0  # runs that this process has trained, with the done shares of current ones
  seconds: float = 0.0  # that it took

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


def train(groups: Sequence[list[Config]], pace: Pace, parallel: int = 1) -> None:
  """Trains or resumes those runs that are not finished.

  A signal ends all of them, after they have saved a checkpoint, and then this process.

  Args:
    groups: of runs; each gets a process.
    pace: of all runs, of which these may be a part.
    parallel: number of processes at the same time, each with a GPU of its own if there are so many.

  Raises:
    ConfigError: one of them ended with an error; the others are stopped.
  """
  begun, trained, seconds = time.monotonic(), pace.trained, pace.seconds
  waiting = unfinished(groups, pace)
  jobs: dict[int, Job] = {}  # by number, 0 .. parallel - 1
  with stopped_together(jobs):
    while True:
      for number in range(parallel):
        if number not in jobs and (job := next(waiting, None)):
          jobs[number] = job
          job.start(own_device(number, parallel))
      if not jobs:
        return
      wait(list(jobs.values()))
      pace.seconds = seconds + time.monotonic() - begun
      pace.trained = trained + sum(job.trained for job in jobs.values())
      for number, job in list(jobs.items()):
        if not job.ended:
          job.show(pace.left(sum(job.over for job in jobs.values())))
          continue
        score = job.score()
        trained += job.trained
        pace.over += len(job.runs)
        del jobs[number]
        took = duration(time.monotonic() - job.begun)
        left = pace.left(sum(job.over for job in jobs.values()))
        print(f"{job.title}: {score} ({took}{left})", flush=True)


class Job:
  """A process that trains or resumes those of some runs that are not finished.

  Its flags are written to WORKDIR.flags, and its output to WORKDIR.log: of several runs, those of
  the folder that theirs are in.

  Args:
    runs: one of the `groups`.
    first: the number of the first of them, counted from 1.
    count: number of all runs.
  """

  def __init__(self, runs: list[Config], first: int, count: int):
    self.runs, self.waiting = runs, [run for run in runs if not ablation.finished(run)]
    self.config, self.begun, self.before = runs[0], time.monotonic(), done(self.waiting)
    name = f"run {first}"
    if len(runs) > 1:
      folder = str(Path(self.config.workdir).parent)
      self.config = configs.replace(self.config, {"workdir": folder})
      name = f"runs {first} to {first + len(runs) - 1}"
    self.title = f"{name} of {count}: {self.config.workdir}"
    self.process: subprocess.Popen | None = None
    self.progress: Progress | None = None

  def start(self, variables: dict[str, str]) -> None:
    """Starts the process, with these environment variables beside those of this one."""
    log, words = (Path(f"{self.config.workdir}.{kind}") for kind in ("log", "flags"))
    log.parent.mkdir(parents=True, exist_ok=True)
    # A file: with a flag file, `train` takes nothing from the run that may be in the folder.
    workdir.write(words, flag_file(self.config, len(self.runs)))
    with open(log, "w") as file:
      self.process = subprocess.Popen(
        [sys.executable, "-m", "launch.train", f"--flagfile={words}"],
        stdout=file,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # so that Ctrl-C does not signal it a second time: `stop` does
        env=os.environ | variables,
      )
    self.progress = Progress(self.title, 1.0, pause=60.0)

  @property
  def ended(self) -> bool:
    """Whether the process has ended, or has not been started."""
    return self.process is None or self.process.poll() is not None

  def stop(self) -> None:
    """Lets the process save a checkpoint and end; returns at once."""
    if self.process:
      self.process.terminate()

  def close(self) -> int:
    """Waits for the end of the process and returns its exit code."""
    if self.progress:
      self.progress.close()
    return self.process.wait() if self.process else 0

  @property
  def trained(self) -> float:
    """How many runs this process has trained, as a sum of shares."""
    return (done(self.waiting) - self.before) * len(self.waiting)

  @property
  def over(self) -> float:
    """How many of its runs are done, as a sum of shares."""
    return len(self.runs) - (1 - done(self.waiting)) * len(self.waiting)

  def show(self, left: str) -> None:
    """Shows how far it is, and after that the time left for all runs."""
    share = done(self.waiting)
    text = f"{share:.0%} of its steps" if share else "compiling, filling its replay"
    if self.progress:
      self.progress.show(share, f"{text}{left}")

  def score(self) -> str:
    """What the process, which has ended, printed of its evaluation.

    Raises:
      ConfigError: it ended with an error.
    """
    code = self.close()
    printed = Path(f"{self.config.workdir}.log").read_text(errors="replace").strip().splitlines()
    if code:
      last = printed[-1] if printed else ""
      raise ConfigError(f"the run in {self.config.workdir} ended with exit code {code}: {last}")
    score = next((line for line in reversed(printed) if ": mean return " in line), "done")
    return score.partition(" (")[0]


def unfinished(groups: Sequence[list[Config]], pace: Pace) -> Iterator[Job]:
  """Jobs for those groups with runs to train; those without are counted as over."""
  first = pace.over + 1
  for runs in groups:
    job = Job(runs, first, pace.runs)
    first += len(runs)
    if job.waiting:
      yield job
    else:
      pace.over += len(runs)
      print(f"{job.title} {'is' if len(runs) == 1 else 'are'} finished already", flush=True)


def done(runs: list[Config]) -> float:
  """The share of several runs that is done, in 0..1; 1 if there are none."""
  return sum(map(ablation.done, runs)) / len(runs) if runs else 1.0


def flag_file(config: Config, seeds: int) -> str:
  """The lines of a flag file for `launch.train` with these settings and so many seeds."""
  words = configs.as_flags(config) + ([f"--seeds={seeds}"] if seeds > 1 else [])
  return "".join(f"{word}\n" for word in words)


@contextlib.contextmanager
def stopped_together(jobs: dict[int, Job]) -> Iterator[None]:
  """Where a signal, or an error, lets all jobs save a checkpoint and end."""
  with signals.handled() as stop:
    stop.unsaved = True  # a signal ends this process after the runs have saved checkpoints
    try:
      with stop.interruptible():
        yield
    finally:
      for job in jobs.values():
        job.stop()
      for job in jobs.values():
        job.close()
      stop.unsaved = False


def wait(jobs: list[Job]) -> None:
  """Waits until one of the jobs has ended, for a few seconds at most."""
  until = time.monotonic() + PAUSE
  while time.monotonic() < until and not any(job.ended for job in jobs):
    time.sleep(0.1)


def own_device(number: int, parallel: int) -> dict[str, str]:
  """Environment variables that give each of several processes a GPU, or its share of one.

  Args:
    number: of the process, 0 .. parallel - 1.
    parallel: number of processes; one has all GPUs.
  """
  named = os.environ.get("CUDA_VISIBLE_DEVICES")
  gpus = cli.listed(named) if named is not None else list(map(str, range(attached_gpus())))
  if parallel == 1 or not gpus:
    return {}
  sharing = -(-parallel // len(gpus))
  variables = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]}
  # JAX takes three quarters of a GPU's memory for itself.
  return variables | ({"XLA_CLIENT_MEM_FRACTION": f"{0.9 / sharing:.3f}"} if sharing > 1 else {})


def attached_gpus() -> int:
  """Number of NVIDIA GPUs of this machine."""
  return len(list(Path("/dev").glob("nvidia[0-9]*")))
