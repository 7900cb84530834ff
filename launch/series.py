"""Trains runs one after the other, the seeds of one agent together, and prints their progress."""

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from muzero_jax import config as configs
from muzero_jax import rules
from muzero_jax.config import Config, ConfigError
from muzero_jax.evaluation import ablation
from muzero_jax.runs import signals, workdir
from muzero_jax.runs.progress import Progress, duration


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
  trained: float = 0.0  # runs that this process has trained, with the done share of the current one
  seconds: float = 0.0  # that it took

  def left(self, share: float = 0.0) -> str:
    """The time left in words, if `share` of the current run is done; "" if it is not known yet."""
    if self.trained <= 0:
      return ""
    rest = (self.runs - self.over - share) * self.seconds / self.trained
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


def train(runs: list[Config], pace: Pace) -> None:
  """Trains or resumes those of the `runs` that are not finished, in one subprocess.

  Its flags are written to WORKDIR.flags, and its output to WORKDIR.log: of several runs, those of
  the folder that theirs are in.

  Args:
    runs: one, or one of the `groups`.
    pace: of all runs.

  Raises:
    ConfigError: it ended with an error.
  """
  begun, before = time.monotonic(), (pace.trained, pace.seconds)
  config, seeds = runs[0], len(runs)
  if seeds > 1:
    config = configs.replace(config, {"workdir": str(Path(config.workdir).parent)})
  first = pace.over + 1
  title = f"run {first}" if seeds == 1 else f"runs {first} to {first + seeds - 1}"
  title += f" of {pace.runs}: {config.workdir}"
  waiting = [run for run in runs if not ablation.finished(run)]
  if not waiting:
    pace.over += seeds
    print(f"{title} {'is' if seeds == 1 else 'are'} finished already", flush=True)
    return
  start = done(waiting)

  def update(share: float) -> None:
    pace.trained = before[0] + (share - start) * len(waiting)
    pace.seconds = before[1] + time.monotonic() - begun

  with Progress(title, 1.0, pause=60.0) as progress:

    def show() -> None:
      share = done(waiting)
      update(share)
      text = f"{share:.0%} of its steps" if share else "compiling, filling its replay"
      progress.show(share, f"{text}{pace.left(seeds - (1 - share) * len(waiting))}")

    code = call(config, seeds, show)
  printed = Path(f"{config.workdir}.log").read_text(errors="replace").strip().splitlines()
  if code:
    last = printed[-1] if printed else ""
    raise ConfigError(f"the run in {config.workdir} ended with exit code {code}: {last}")
  update(1.0)
  pace.over += seeds
  took = duration(time.monotonic() - begun)
  score = next((line for line in reversed(printed) if ": mean return " in line), "done")
  print(f"{title}: {score.partition(' (')[0]} ({took}{pace.left()})", flush=True)


def done(runs: list[Config]) -> float:
  """The share of several runs that is done, in 0..1."""
  return sum(map(ablation.done, runs)) / len(runs)


def call(config: Config, seeds: int, show: Callable[[], None]) -> int:
  """Runs `launch.train` with these settings and so many seeds; returns its exit code.

  `show` is called every few seconds.

  A signal ends it, after it has saved a checkpoint, and then this process.
  """
  log, words = Path(f"{config.workdir}.log"), Path(f"{config.workdir}.flags")
  log.parent.mkdir(parents=True, exist_ok=True)
  defaults = configs.values(Config())
  changed = {
    name: value for name, value in configs.values(config).items() if value != defaults[name]
  }
  if seeds > 1:
    changed |= {"seeds": seeds}
  # A file: with a flag file, `train` takes nothing from the run that may be in the folder.
  workdir.write(
    words,
    "".join(
      f"--{name}={str(value).lower() if isinstance(value, bool) else value}\n"
      for name, value in changed.items()
    ),
  )
  # In a new session, so that Ctrl-C does not signal it a second time: we terminate it.
  start = partial(subprocess.Popen, stderr=subprocess.STDOUT, start_new_session=True)
  with open(log, "w") as file, signals.handled() as stop:
    stop.unsaved = True  # a signal ends this process after the run has saved a checkpoint
    process = start([sys.executable, "-m", "launch.train", f"--flagfile={words}"], stdout=file)
    try:
      with stop.interruptible():
        return wait(process, show)
    except signals.Stopped:
      process.terminate()
      process.wait()
      raise
    finally:
      stop.unsaved = False


def wait(process: subprocess.Popen, show: Callable[[], None]) -> int:
  """Waits for the end of a process and returns its exit code; calls `show` every few seconds."""
  while True:
    try:
      return process.wait(timeout=5.0)
    except subprocess.TimeoutExpired:
      show()
