"""Training as a process of its own: killed, stopped, called with bad input."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from muzero_jax.runs import jsonl
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


@pytest.fixture
def start():
  """Starts training as a process; one that is still there when the test is over is killed."""
  processes = []

  def started(folder, *more) -> subprocess.Popen:
    process = subprocess.Popen(
      command(folder, *more),
      cwd=ROOT,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    processes.append(process)
    return process

  yield started
  for process in processes:
    process.kill()


def wait_for_a_checkpoint(folder, process) -> None:
  for _ in range(1200):
    if process.poll() is not None:
      pytest.fail(process.stdout.read())
    if Checkpoints(folder, read_only=True).latest() if (folder / "checkpoints").exists() else None:
      return
    time.sleep(0.1)
  pytest.fail("no checkpoint after two minutes")


def test_kill_9_and_sigterm_lose_nothing_that_was_saved(tmp_path, start):
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
  steps = [row["env_steps"] for row in jsonl.read(tmp_path / "metrics.jsonl")]
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


ENDLESS = ["--evaluation.episodes=1000000", "--evaluation.num_envs=8", "--save_every=0"]


@pytest.mark.parametrize(
  ("number", "phase", "words"),
  [
    (signal.SIGTERM, "", []),
    (signal.SIGINT, "", []),
    (signal.SIGINT, "compiling", []),
    (signal.SIGHUP, " steps/s ", ["--evaluation.episodes=0", "--env_steps=10000000"]),
    (signal.SIGTERM, " steps/s ", ["--evaluate_every=2048", "--env_steps=10000000", *ENDLESS]),
    (signal.SIGTERM, " steps/s ", ["--env_steps=2048", *ENDLESS]),
  ],
  ids=["start", "start by Ctrl-C", "compiling", "training", "evaluating", "final evaluation"],
)
def test_every_phase_ends_within_seconds_of_a_signal(number, phase, words, tmp_path, start):
  """Where there is a state, it is saved; there is never a traceback."""
  process = start(tmp_path, "--log_every=2048", *words)
  said = []
  while phase and phase not in (said or [""])[-1]:
    said.append(process.stdout.readline())
    assert said[-1], said
  time.sleep(1.5)
  begun = time.perf_counter()
  process.send_signal(number)
  rest = process.communicate(timeout=60)[0]
  took = time.perf_counter() - begun
  assert process.returncode == 128 + number, rest
  assert "stopped" in rest and "Traceback" not in rest
  assert took < 15, f"{took:.0f} s"
  if phase == " steps/s ":
    steps = [row["env_steps"] for row in jsonl.read(tmp_path / "metrics.jsonl")]
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
      assert checkpoints.latest() >= steps[-1] > 0
  assert not (tmp_path / "evaluations.jsonl").exists()


def test_a_reader_that_leaves(tmp_path, start):
  """`train | head`: the run is saved, nothing is said, and the exit code is that of SIGPIPE."""
  words = ["--env_steps=10000000", "--log_every=2048", "--save_every=0"]
  process = start(tmp_path, *words)
  while " steps/s " not in process.stdout.readline():
    pass
  process.stdout.close()
  assert process.wait(timeout=60) == 128 + signal.SIGPIPE
  with Checkpoints(tmp_path, read_only=True) as checkpoints:
    assert checkpoints.latest() > 0
