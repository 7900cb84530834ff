"""Training as a process of its own: killed, stopped, called with bad input."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from muzero_jax import config as configs
from muzero_jax import train
from muzero_jax.reporting import page
from muzero_jax.runs import jsonl, workdir
from muzero_jax.runs.checkpoint import Checkpoints

ROOT = pathlib.Path(__file__).parents[2]


def command(folder, *more, name: str = "train") -> list[str]:
  preset = ROOT / "launch" / "presets" / "catch.flags"
  return [
    sys.executable,
    "-m",
    f"launch.{name}",
    f"--flagfile={preset}",
    f"--workdir={folder}",
    *more,
  ]


@pytest.fixture
def start():
  """Starts a command as a process; one that is still there when the test is over is killed."""
  processes = []

  def started(folder, *more, name: str = "train") -> subprocess.Popen:
    process = subprocess.Popen(
      command(folder, *more, name=name),
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


def newest(folder) -> int:
  """The agent steps of a run's newest checkpoint; 0: it has none."""
  return Checkpoints(folder, read_only=True).newest() or 0


def wait_for(happened, process) -> None:
  """Waits, for two minutes at most, until `happened()` while the process runs."""
  for _ in range(2400):
    if process.poll() is not None:
      pytest.fail(process.stdout.read())
    if happened():
      return
    time.sleep(0.05)
  pytest.fail("it has not happened in two minutes")


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
  wait_for(lambda: newest(tmp_path), process)
  process.kill()
  process.communicate()
  with open(tmp_path / "metrics.jsonl", "a") as file:
    file.write('{"env_steps": 99')  # a line torn by the kill
  begun = Checkpoints(tmp_path, read_only=True).newest()
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
  assert Checkpoints(tmp_path, read_only=True).newest() >= steps[-1]


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
    (signal.SIGHUP, " steps/s ", ["--env_steps=2048", *ENDLESS]),
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
      assert checkpoints.newest() >= steps[-1] > 0
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
    assert checkpoints.newest() > 0


SHORT = ["--log_every=2048", "--evaluation.episodes=8", "--evaluation.random_episodes=8"]


def test_a_signal_while_the_outputs_of_a_run_are_made(tmp_path, start, monkeypatch, capsys):
  """While the video is recorded, and while the report is written: the scores are kept, and the same
  command makes what is missing.
  """
  process = start(tmp_path, "--env_steps=4096", "--cpu_devices=2", "--video", *SHORT)
  wait_for((tmp_path / "curve.png").exists, process)
  process.terminate()
  said = process.communicate(timeout=60)[0]
  assert process.returncode == 128 + signal.SIGTERM, said
  assert said.count("stopped at 4,096 steps; run the same command again") == 1
  assert "Traceback" not in said and newest(tmp_path) == 4096
  assert not list(tmp_path.glob("video/4096*")) and not (tmp_path / "report.html").exists()
  scores = jsonl.read(tmp_path / "evaluations.jsonl")
  assert [row["agent"] for row in scores] == ["trained", "random"]

  config = configs.replace(workdir.load(tmp_path), {"video": False})
  with monkeypatch.context() as context:
    context.setattr(page, "write", lambda *_: signal.raise_signal(signal.SIGTERM))
    assert train.train(config) == 128 + signal.SIGTERM
  assert "stopped at 4,096 steps" in capsys.readouterr().out
  assert train.train(config) == 0
  assert "has done its 4,096 steps" in capsys.readouterr().out
  assert (tmp_path / "report.html").exists()
  assert jsonl.read(tmp_path / "evaluations.jsonl") == scores


def test_a_signal_saves_all_seeds_and_they_go_on(tmp_path, start):
  """Of runs side by side each is saved, at the same step."""
  folders = [tmp_path / "0", tmp_path / "1"]
  words = ["--seeds=2", "--env_steps=100000000", "--save_every=0", *SHORT]
  begun = 0
  for _ in range(2):
    process = start(tmp_path, *words)
    said = ""
    while " steps/s " not in said:
      said += (line := process.stdout.readline())
      assert line, said
    process.terminate()
    said += process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGTERM, said
    assert "Traceback" not in said
    assert said.count(f"resuming at {begun:,} steps") == (2 if begun else 0)
    saved = [newest(folder) for folder in folders]
    assert saved[0] == saved[1] > begun
    assert f"stopped at {saved[0]:,} steps; run the same command again to resume." in said
    begun = saved[0]
    for folder in folders:
      steps = [row["env_steps"] for row in jsonl.read(folder / "metrics.jsonl")]
      assert steps == list(range(2048, begun + 1, 2048))


def test_a_signal_to_a_suite_saves_its_run_and_it_goes_on(tmp_path, start):
  """The process that trains is not signalled itself. Started again for 4,096 steps more, the suite
  trains these only, and scores.
  """
  folder, log = tmp_path / "catch" / "0", tmp_path / "catch" / "0.log"
  words = ["--games=catch", "--seeds=1", "--save_every=0", *SHORT]
  process = start(tmp_path, "--env_steps=10000000", *words, name="suite")
  wait_for(lambda: log.exists() and " steps/s " in log.read_text(), process)
  process.terminate()
  said = process.communicate(timeout=60)[0]
  assert process.returncode == 128 + signal.SIGTERM, said
  assert said.strip().splitlines()[-1] == "stopped by SIGTERM." and "Traceback" not in said
  begun = newest(folder)
  assert f"stopped at {begun:,} steps; run the same command again" in log.read_text()

  process = start(tmp_path, f"--env_steps={begun + 4096}", *words, name="suite")
  said = process.communicate(timeout=120)[0]
  assert process.returncode == 0, said
  assert f"resuming at {begun:,} steps" in log.read_text()
  assert newest(folder) == begun + 4096 and (tmp_path / "suite.json").exists()
