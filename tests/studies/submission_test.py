"""Runs as jobs of submitit."""

import importlib.util
import logging
import sys

import pytest

from launch import suite as command
from muzero_jax.config import ConfigError, FailedError
from muzero_jax.studies import submission, suite


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


@pytest.mark.skipif(not importlib.util.find_spec("submitit"), reason="submitit is optional")
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
        raise RuntimeError("exit code 1")

  monkeypatch.setattr(submission, "submit", lambda command, indices, *more: map(Job, indices))
  monkeypatch.setattr(suite, "score", lambda runs, place: print("scored", len(runs)))
  with pytest.raises(FailedError, match=f"these runs failed: {tmp_path}/Pong-v5/0. What"):
    command.main(words(tmp_path, "--submit=local"))
  said = capsys.readouterr().out
  assert f"run 0 in {tmp_path}/Pong-v5/0 failed; see {tmp_path}/jobs\nscored 2" in said


@pytest.mark.skipif(not importlib.util.find_spec("submitit"), reason="submitit is optional")
def test_a_parameter_of_the_wrong_type_is_one_sentence(tmp_path):
  with pytest.raises(ConfigError, match=r'--submit_options=timeout_min=x: Parameter "timeout_min"'):
    submission.submit(["true"], [0], tmp_path, "local", "timeout_min=x")
