"""Submits runs as jobs with submitit, which is optional: as a SLURM array, or on this machine."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from muzero_jax import flags, optional
from muzero_jax.config import Config, ConfigError
from muzero_jax.studies import completion, series
from muzero_jax.studies.process import own_device

# submitit's own limits are 5 minutes, and 2 on this machine.
DEFAULTS = {"name": "muzero", "timeout_min": 24 * 60}


class NumberedCommand:
  """A job: a command with a number appended. One that is preempted, or out of time, goes on.

  A job that is told to end lets the command save and end, and waits for it.

  Args:
    command: program and flags.
    check: make it an error if the command fails.
  """

  def __init__(self, command: list[str], check: bool):
    self.command, self.check = command, check
    self.running: subprocess.Popen | None = None

  def __call__(self, index: int, gpus: dict[str, str] | None) -> int:
    """Runs the command.

    Args:
      index: the number.
      gpus: environment variables in place of submitit's CUDA_VISIBLE_DEVICES; None: that stays.

    Returns:
      Its exit code.

    Raises:
      CalledProcessError: it has failed, and `check` is on.
    """
    command, environment = [*self.command, f"--index={index}"], dict(os.environ)
    if gpus is not None:
      environment.pop("CUDA_VISIBLE_DEVICES", None)
      environment |= gpus
    processes: dict[int, subprocess.Popen] = {}
    with series.stopped_together(processes):
      self.running = processes[index] = subprocess.Popen(command, env=environment)
      code = processes[index].wait()
    if code and self.check:
      raise subprocess.CalledProcessError(code, command)
    return code

  def checkpoint(self, index: int, gpus: dict[str, str] | None) -> Any:
    """What submitit submits again: the same command, which resumes its run.

    submitit calls this in the handler of the signal by which a job is told to end. The run is saved
    first: once SLURM has queued the job again, it leaves little time.
    """
    import submitit  # pyright: ignore[reportMissingImports]

    if self.running:
      self.running.terminate()
      # Not `Popen.wait`: here it would wait for its own caller, the `wait` of `__call__`.
      with contextlib.suppress(ChildProcessError):
        os.waitid(os.P_PID, self.running.pid, os.WEXITED | os.WNOWAIT)
    self.running = None  # a process cannot be submitted
    return submitit.helpers.DelayedSubmission(self, index, gpus)


class LocalJob:
  """A job of submitit on this machine, as something that can be told to end."""

  def __init__(self, job: Any):
    self.job = job

  def terminate(self) -> None:
    """Tells submitit's process, which has the job's number, and which passes it on."""
    if not self.job.done():
      os.kill(int(self.job.job_id), signal.SIGTERM)

  def wait(self) -> None:
    """Waits until that process has ended."""
    self.job.wait()


def submit(
  command: list[str], indices: list[int], folder: Path, cluster: str, options: str
) -> list[Any]:
  """Submits a job for each index.

  Args:
    command: program and flags, which "--index=I" is appended to.
    indices: of the runs.
    folder: for submitit's files and the jobs' output; the jobs' machines must see it.
    cluster: "slurm" (one array), "local" (all side by side on this machine) or "debug" (in this
      process, one after the other).
    options: parameters of submitit's executor, NAME=VALUE with commas between, beside `DEFAULTS`.

  Returns:
    submitit's jobs, which on "debug" begin when they are waited for.

  Raises:
    ConfigError: submitit is not installed, there is no SLURM, or it does not know an option.
  """
  found = parameters(options)
  with optional.needed("--submit needs submitit", "submit"):
    import submitit  # pyright: ignore[reportMissingImports]
  try:
    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    executor.update_parameters(**DEFAULTS | found)
    shared = cluster == "local" and not any(name.endswith("gpus_per_node") for name in found)
    gpus = [own_gpus(i, len(indices)) if shared else None for i in range(len(indices))]
    # SLURM lists a job as failed if it raises an error; the debug executor would start a debugger.
    job = NumberedCommand(command, check=cluster == "slurm")
    with interrupt_ignored():
      return executor.map_array(job, indices, gpus)
  except (RuntimeError, NameError, ValueError, TypeError, AssertionError, OSError) as error:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    raise ConfigError(f"--submit={cluster} --submit_options={options}: {reason}") from error


def own_gpus(number: int, count: int) -> dict[str, str]:
  """Environment variables that give each of `count` jobs on this machine its share of the GPUs.

  submitit would hide all of them.
  """
  named = os.environ.get("CUDA_VISIBLE_DEVICES")
  return ({} if named is None else {"CUDA_VISIBLE_DEVICES": named}) | own_device(number, count)


@contextlib.contextmanager
def interrupt_ignored() -> Iterator[None]:
  """Where processes are started that ignore Ctrl-C: this one tells them to end, and waits."""
  before = signal.signal(signal.SIGINT, signal.SIG_IGN)
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, before)


def hand_over(
  runs: list[Config], command: list[str], folder: Path, cluster: str, options: str
) -> list[str] | None:
  """Submits the runs that are not finished, and waits for them, except on "slurm".

  Args:
    runs: all runs of the command, which takes their index.
    command: as in `submit`.
    folder: as in `submit`.
    cluster: as in `submit`.
    options: as in `submit`.

  Returns:
    The folders of the runs that failed; None on "slurm", where they have not ended.

  Raises:
    ConfigError: they cannot be submitted.
  """
  waiting = [index for index, run in enumerate(runs) if not completion.finished(run)]
  print(f"{len(runs)} runs, of which {len(waiting)} are not finished", flush=True)
  if not waiting:
    return []
  jobs = submit(command, waiting, folder, cluster, options)
  if cluster == "slurm":
    print(f"submitted: {', '.join(job.job_id for job in jobs)}; output in {folder}")
    print("when they have ended: the same command without --submit scores, or trains what is left")
    return None
  failed, local = [], jobs if cluster == "local" else []
  with series.stopped_together(dict(enumerate(map(LocalJob, local)))):
    for index, job in zip(waiting, jobs, strict=True):
      try:
        code = job.result()
      except Exception:  # it was out of time too often, or killed
        code = 1
      if code:
        print(f"run {index} in {runs[index].workdir} failed; see {folder}", flush=True)
        failed.append(runs[index].workdir)
  return failed


def parameters(text: str) -> dict[str, int | str]:
  """The parameters that a text names, for example timeout_min=60,slurm_partition=gpu.

  Raises:
    ConfigError: a part of it is not NAME=VALUE.
  """
  found: dict[str, int | str] = {}
  for word in flags.listed(text):
    name, sign, value = word.partition("=")
    if not sign or not name.isidentifier():
      raise ConfigError(
        f"--submit_options={text}: {word} is not NAME=VALUE, for example timeout_min=1440."
      )
    found[name] = int(value) if value.isdecimal() else value
  return found


def python(module: str, words: list[str]) -> list[str]:
  """The command of a module with these flags, for a job."""
  return [sys.executable, "-m", module, *words, "--submit="]
