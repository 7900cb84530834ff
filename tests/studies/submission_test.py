"""Runs as jobs of submitit."""

import importlib.util
import logging
import os
import signal
import sys
import threading
import time

import pytest

from launch import suite as command
from muzero_jax import flags
from muzero_jax.config import Config, ConfigError, FailedError
from muzero_jax.runs import signals
from muzero_jax.studies import process, submission, suite

needs_submitit = pytest.mark.skipif(
  not importlib.util.find_spec("submitit"), reason="submitit is optional"
)


def words(folder, *more):
  return [
    "suite",
    "--preset=atari100k_cpu",
    "--games=Pong-v5",
    "--seeds=2",
    f"--workdir={folder}",
    *more,
  ]


def test_parameters_are_numbers_or_words():
  assert submission.parameters("timeout_min=60, slurm_partition=gpu") == {
    "timeout_min": 60,
    "slurm_partition": "gpu",
  }
  with pytest.raises(ConfigError, match=r"--submit_options=gpus: gpus is not NAME=VALUE"):
    submission.parameters("gpus")


def test_one_run_is_not_submitted(tmp_path):
  with pytest.raises(ConfigError, match="--index=0: --submit hands over all runs"):
    command.main(words(tmp_path, "--index=0", "--submit=slurm"))


def test_without_submitit_it_is_one_sentence(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "submitit", None)
  with pytest.raises(ConfigError, match=r"pip install 'muzero_jax\[submit\]'"):
    command.main(words(tmp_path, "--submit=debug"))


@needs_submitit
def test_an_array_of_unfinished_runs(tmp_path, monkeypatch, capsys):
  """submitit's debug executor: each job is the suite with the index of its run; then all are
  scored. The command is replaced by one that writes down what it was called with.
  """
  # submitit configures logging when it is imported, and absl would close pytest's stderr then.
  monkeypatch.setattr(logging, "shutdown", lambda *handlers: None)
  note = "import sys, pathlib; pathlib.Path(sys.argv[-1][2:]).write_text(' '.join(sys.argv[1:-1]))"
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(
    submission, "python", lambda module, flags: [sys.executable, "-c", note, module, *flags]
  )
  monkeypatch.setattr(submission.completion, "finished", lambda config: config.seed == 1)
  monkeypatch.setattr(suite, "score", lambda runs, place: print("scored", len(runs)))
  given = words(tmp_path, "--seeds=3", "--submit=debug", "--submit_options=timeout_min=5")
  command.main(given)
  assert [path.name for path in sorted(tmp_path.glob("index=*"))] == ["index=0", "index=2"]
  assert (tmp_path / "index=2").read_text() == " ".join(["launch.suite", *given[1:]])
  said = capsys.readouterr().out
  assert "3 runs, of which 2 are not finished" in said and "scored 3" in said


def test_the_others_are_scored_when_a_job_fails(tmp_path, monkeypatch, capsys):
  class Job:
    def __init__(self, index):
      self.index = index

    def result(self):
      if self.index == 0:
        raise RuntimeError("out of time")
      return int(self.index == 1)

    def done(self):
      return True

    def wait(self):
      pass

  monkeypatch.setattr(submission, "submit", lambda command, indices, *more: list(map(Job, indices)))
  monkeypatch.setattr(suite, "score", lambda runs, place: print("scored", len(runs)))
  with pytest.raises(FailedError, match=f"failed: {tmp_path}/Pong-v5/0, {tmp_path}/Pong-v5/1. W"):
    command.main(words(tmp_path, "--submit=local", "--seeds=3"))
  said = capsys.readouterr().out
  assert f"run 1 in {tmp_path}/Pong-v5/1 failed; see {tmp_path}/jobs\nscored 3" in said


def test_a_part_that_is_no_parameter_is_said_once(tmp_path):
  with pytest.raises(ConfigError) as caught:
    submission.submit(["true"], [0], tmp_path, "local", "gpus")
  assert str(caught.value).count("gpus is not NAME=VALUE") == 1
  assert str(caught.value).count("--submit_options=") == 1


@needs_submitit
@pytest.mark.parametrize(
  ("options", "minutes", "gpus"),
  [
    ("", 1440, [{"CUDA_VISIBLE_DEVICES": "4"}, {"CUDA_VISIBLE_DEVICES": "5"}]),
    ("timeout_min=60,gpus_per_node=1", 60, [None, None]),
  ],
)
def test_jobs_have_a_day_and_the_gpus_of_this_process(
  options, minutes, gpus, tmp_path, monkeypatch
):
  import submitit

  def map_array(self, job, indices, given):
    return self._executor.parameters["timeout_min"], indices, given

  monkeypatch.setattr(submitit.AutoExecutor, "map_array", map_array)
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
  found = submission.submit(["true"], [3, 7], tmp_path, "local", options)
  assert found == (minutes, [3, 7], gpus)
  assert submission.own_gpus(0, 1) == {"CUDA_VISIBLE_DEVICES": "4,5"}
  monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
  monkeypatch.setattr(process, "attached_gpus", lambda: 0)
  assert submission.own_gpus(0, 2) == {}


@pytest.fixture
def trainer(tmp_path):
  """A command that trains for a minute unless it is told to end, when it saves; started again, it
  is finished. What it does is in the file `notes`, with the number of its job's process.
  """
  program = (
    "import os, pathlib, signal, sys, time\n"
    f"notes = pathlib.Path({str(tmp_path / 'notes')!r})\n"
    "resumed = notes.exists()\n"
    "def note(word):\n"
    "  with notes.open('a') as file: file.write(word + '\\n')\n"
    "def stop(*_):\n"
    "  time.sleep(0.5); note('saved'); sys.exit(143)\n"
    "signal.signal(signal.SIGTERM, stop)\n"
    "note(f\"job {os.getppid()} gpus {os.environ.get('CUDA_VISIBLE_DEVICES')}\")\n"
    "if not resumed: time.sleep(60)\n"
    "note('finished')\n"
  )
  return [sys.executable, "-c", program], tmp_path / "notes"


def job_of(notes) -> int:
  """Waits until the command has begun; the number of its job's process."""
  until = time.monotonic() + 60
  while not (notes.exists() and "gpus" in notes.read_text()) and time.monotonic() < until:
    time.sleep(0.05)
  return int(notes.read_text().split()[1])


@needs_submitit
def test_a_job_out_of_time_saves_and_goes_on(trainer, tmp_path, monkeypatch):
  """submitit's signal at the end of its time. The run sees the GPUs that this process sees."""
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
  words, notes = trainer
  [job] = submission.submit(words, [0], tmp_path / "jobs", "local", "")
  os.kill(job_of(notes), signal.SIGUSR2)
  assert job.result() == 0
  first, saved, second, finished = notes.read_text().splitlines()
  assert (saved, finished) == ("saved", "finished")
  assert first.endswith("gpus 4,5") and second.endswith("gpus 4,5") and first != second


@needs_submitit
def test_a_signal_lets_jobs_on_this_machine_save_and_end(trainer, tmp_path, monkeypatch):
  """They are told by this process, which then waits for them."""
  submit, submitted = submission.submit, threading.Event()

  def submitting(*words):
    jobs = submit(*words)
    submitted.set()
    return jobs

  monkeypatch.setattr(submission, "submit", submitting)
  words, notes = trainer
  run = flags.parse(["train", "--preset=catch", f"--workdir={tmp_path}/0"], Config())

  def interrupt():
    job_of(notes)
    submitted.wait()
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)

  threading.Thread(target=interrupt).start()
  with pytest.raises(signals.Stopped):
    submission.hand_over([run], words, tmp_path / "jobs", "local", "")
  assert notes.read_text().splitlines()[1:] == ["saved"]


@needs_submitit
def test_a_parameter_of_the_wrong_type_is_one_sentence(tmp_path):
  with pytest.raises(ConfigError, match=r'--submit_options=timeout_min=x: Parameter "timeout_min"'):
    submission.submit(["true"], [0], tmp_path, "local", "timeout_min=x")
