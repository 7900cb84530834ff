"""A process that trains one run, or several seeds of an agent in an environment in JAX."""

import os
import subprocess
import sys
import time
from pathlib import Path

from muzero_jax import config as configs
from muzero_jax import flags
from muzero_jax.config import Config, ConfigError
from muzero_jax.runs import workdir
from muzero_jax.runs.progress import Progress
from muzero_jax.studies import completion

REFUSED = 2  # the exit code of a command whose settings, or whose run, cannot be used


class TrainingProcess:
  """A process that trains or resumes those of some runs that are not finished.

  Its flags are written to WORKDIR.flags, and its output to WORKDIR.log: of several runs, those of
  the folder that theirs are in.

  Args:
    runs: one of the `groups`.
    first: the number of the first of them, counted from 1.
    count: number of all runs.
  """

  def __init__(self, runs: list[Config], first: int, count: int):
    self.runs, self.waiting = runs, [run for run in runs if not completion.finished(run)]
    self.config, self.begun, self.before = runs[0], time.monotonic(), done(self.waiting)
    self.first = first
    # Whether its settings are known to be usable, because some of its runs have begun with them.
    self.proven = any(map(completion.begun, self.waiting))
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

  def terminate(self) -> None:
    """Lets the process save a checkpoint and end; returns at once."""
    if self.process:
      self.process.terminate()

  def wait(self) -> int:
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

  @property
  def failed(self) -> bool:
    """Whether the process has ended with an error."""
    return self.ended and bool(self.process and self.process.returncode)

  def outcome(self, proven: bool = False) -> str:
    """What the process, which has ended, printed of its evaluation, or of the error it ended with.

    Args:
      proven: another run has ended well, so that the settings that all have can be used.

    Raises:
      ConfigError: it has refused its settings, which other runs have, too. A run that had begun
        with them is refused for a reason of its own, such as damage; that is a failure like others.
    """
    code = self.wait()
    printed = Path(f"{self.config.workdir}.log").read_text(errors="replace").strip().splitlines()
    if code:
      error = f"ended with exit code {code}: {printed[-1] if printed else ''}"
      if code == REFUSED and not (proven or self.proven):
        raise ConfigError(f"the run in {self.config.workdir} {error}")
      return error
    score = next((line for line in reversed(printed) if ": mean return " in line), "done")
    return score.partition(" (")[0]


def done(runs: list[Config]) -> float:
  """The share of several runs that is done, in 0..1; 1 if there are none."""
  return sum(map(completion.done, runs)) / len(runs) if runs else 1.0


def flag_file(config: Config, seeds: int) -> str:
  """The lines of a flag file for `launch.train` with these settings and so many seeds."""
  words = configs.as_flags(config) + ([f"--seeds={seeds}"] if seeds > 1 else [])
  return "".join(f"{word}\n" for word in words)


def own_device(number: int, parallel: int) -> dict[str, str]:
  """Environment variables that give each of several processes a GPU, or its share of one.

  Args:
    number: of the process, 0 .. parallel - 1.
    parallel: number of processes; one has all GPUs.
  """
  named = os.environ.get("CUDA_VISIBLE_DEVICES")
  gpus = flags.listed(named) if named is not None else list(map(str, range(attached_gpus())))
  if parallel == 1 or not gpus:
    return {}
  sharing = -(-parallel // len(gpus))
  variables = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]}
  # The share of a GPU's memory that JAX takes for itself, by default three quarters. The variable
  # has two names, and JAX refuses both together.
  former, new = "XLA_PYTHON_CLIENT_MEM_FRACTION", "XLA_CLIENT_MEM_FRACTION"
  share = {former if former in os.environ else new: f"{0.9 / sharing:.3f}"}
  return variables | (share if sharing > 1 else {})


def attached_gpus() -> int:
  """Number of NVIDIA GPUs of this machine."""
  return len(list(Path("/dev").glob("nvidia[0-9]*")))
