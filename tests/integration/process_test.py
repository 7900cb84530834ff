"""Training as a process of its own: killed, stopped, called with bad input."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from muzero_jax.runs import metrics
from muzero_jax.runs.checkpoint import Checkpoints

ROOT = pathlib.Path(__file__).parents[2]


def command(folder, *more) -> list[str]:
  preset = ROOT / "launch" / "presets" / "catch.flags"
  return [
    sys.executable,
    "-m",
    "launch.train",
    f"--flagfile={preset}",
    f"--workdir={folder}",
    *more,
  ]


def start(folder, *more) -> subprocess.Popen:
  return subprocess.Popen(
    command(folder, *more),
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
  )


def wait_for_a_checkpoint(folder, process) -> None:
  for _ in range(600):
    if process.poll() is not None:
      pytest.fail(process.stdout.read())
    if Checkpoints(folder, read_only=True).latest() if (folder / "checkpoints").exists() else None:
      return
    time.sleep(0.1)
  pytest.fail("no checkpoint after a minute")


def test_kill_9_and_sigterm_lose_nothing_that_was_saved(tmp_path):
  """Killed with -9 in the middle, a run goes on from its last checkpoint; told to terminate, it
  saves first.
  """
  more = [
    "--env_steps=10000000",
    "--save_every=4096",
    "--log_every=2048",
    "--evaluation.episodes=0",
    "--evaluation.random_episodes=0",
  ]
  process = start(tmp_path, *more)
  wait_for_a_checkpoint(tmp_path, process)
  process.kill()
  process.communicate()
  with open(tmp_path / "metrics.jsonl", "a") as file:
    file.write('{"env_steps": 99')  # a line torn by the kill
  begun = Checkpoints(tmp_path, read_only=True).latest()
  process = start(tmp_path, *more)
  for line in process.stdout:
    if line.startswith("resuming"):
      assert line.strip() == f"resuming at {begun:,} steps"
    if " steps/s " in line:
      break
  process.send_signal(signal.SIGTERM)
  rest = process.communicate()[0]
  assert process.returncode == 128 + signal.SIGTERM, rest
  assert "stopped at" in rest
  steps = [row["env_steps"] for row in metrics.read(tmp_path / "metrics.jsonl")]
  assert steps == sorted(set(steps)) and steps[-1] > begun
  assert Checkpoints(tmp_path, read_only=True).latest() >= steps[-1]


@pytest.mark.parametrize(
  "words", [["--env.task=Pongg-v5"], ["--serch.kind=puct"], ["--search.num_simulations=0"]]
)
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, words):
  process = subprocess.run(
    [sys.executable, "-m", "launch.train", f"--workdir={tmp_path}", *words],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
  )
  assert process.returncode == 2
  assert process.stderr.startswith("error: ") and process.stderr.count("\n") == 1, process.stderr
