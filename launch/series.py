"""Trains runs one after the other, each in a process of its own, and prints their progress."""

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from muzero_jax import config as configs
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
  return Config(
    **{field.name: getattr(options, field.name) for field in dataclasses.fields(Config)}
  )


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


def train(config: Config, pace: Pace) -> None:
  """Trains or resumes one run in a subprocess, unless it is finished.

  Its flags are written to WORKDIR.flags, and its output to WORKDIR.log.

  Raises:
    ConfigError: the run ended with an error.
  """
  begun, before = time.monotonic(), (pace.trained, pace.seconds)
  title = f"run {pace.over + 1} of {pace.runs}: {config.workdir}"
  if ablation.finished(config):
    pace.over += 1
    print(f"{title} is finished already", flush=True)
    return
  start = ablation.done(config)

  def update(share: float) -> None:
    pace.trained = before[0] + share - start
    pace.seconds = before[1] + time.monotonic() - begun

  with Progress(title, 1.0, pause=60.0) as progress:

    def show() -> None:
      share = ablation.done(config)
      update(share)
      text = f"{share:.0%} of its steps" if share else "compiling, filling its replay"
      progress.show(share, f"{text}{pace.left(share)}")

    code = call(config, show)
  log = Path(f"{config.workdir}.log")
  last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
  if code:
    raise ConfigError(f"the run in {config.workdir} ended with exit code {code}: {last}")
  update(1.0)
  pace.over += 1
  took = duration(time.monotonic() - begun)
  print(f"{title}: {last.partition(' (')[0]} ({took}{pace.left()})", flush=True)


def call(config: Config, show: Callable[[], None]) -> int:
  """Runs `launch.train` with these settings; calls `show` every few seconds; returns its exit code.

  A signal ends it, after it has saved a checkpoint, and then this process.
  """
  log, words = Path(f"{config.workdir}.log"), Path(f"{config.workdir}.flags")
  log.parent.mkdir(parents=True, exist_ok=True)
  defaults = configs.values(Config())
  changed = {
    name: value for name, value in configs.values(config).items() if value != defaults[name]
  }
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
