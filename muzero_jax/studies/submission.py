"""Submits runs as jobs with submitit, which is optional: as a SLURM array, or on this machine."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from muzero_jax import flags, optional
from muzero_jax.config import Config, ConfigError
from muzero_jax.studies import completion


class NumberedCommand:
  """A job: a command with a number appended. One that is preempted, or out of time, goes on."""

  def __init__(self, command: list[str]):
    self.command = command

  def __call__(self, index: int) -> None:
    subprocess.run([*self.command, f"--index={index}"], check=True)

  def checkpoint(self, index: int) -> Any:
    """What submitit submits again: the same command, which resumes its run."""
    import submitit  # pyright: ignore[reportMissingImports]

    return submitit.helpers.DelayedSubmission(self, index)


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
    options: parameters of submitit's executor, NAME=VALUE with commas between.

  Returns:
    submitit's jobs, which on "debug" begin when they are waited for.

  Raises:
    ConfigError: submitit is not installed, there is no SLURM, or it does not know an option.
  """
  with optional.needed("--submit needs submitit", "submit"):
    import submitit  # pyright: ignore[reportMissingImports]
  try:
    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    executor.update_parameters(name="muzero", **parameters(options))
    return executor.map_array(NumberedCommand(command), indices)
  except (RuntimeError, NameError, ValueError, TypeError, AssertionError, OSError) as error:
    reason = (str(error) or type(error).__name__).splitlines()[0]
    raise ConfigError(f"--submit={cluster} --submit_options={options}: {reason}") from error


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
  failed = []
  for index, job in zip(waiting, jobs, strict=True):
    try:
      job.result()
    except Exception:
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
