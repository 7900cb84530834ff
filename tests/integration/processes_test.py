"""Two processes on this machine that train one agent together."""

import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from muzero_jax import build, train
from muzero_jax import config as configs
from muzero_jax.config import Config
from muzero_jax.runs import workdir
from muzero_jax.runs.saved import Saved
from tests.integration.resume_test import bits

ROOT = pathlib.Path(__file__).parents[2]
SMALL = {
  "search.kind": "none",
  "network.size": "grid",
  "targets.unroll": 1,
  "evaluation.episodes": 0,
  "evaluation.random_episodes": 0,
  "checkpoint.replay": True,
  "checkpoint.keep": 1000,
  "save_every": 128,
}
ENDLESS = 10**7


def small(make_config, folder, env_steps) -> Config:
  return configs.replace(make_config(folder), SMALL | {"env_steps": env_steps})


def arrays(folder, steps: int) -> list[np.ndarray]:
  """All arrays of a checkpoint: of the learner, the games and the replay."""
  run = build.build(workdir.load(folder))
  local = run.local()
  small = dataclasses.replace(local, replay=None)
  saved = Saved(folder / "checkpoints" / str(steps))
  return bits(saved.restore(learner=run.shared(), local=small, replay=local.replay))


class Pair:
  """Two processes of one run, with a device each; their outputs are in files."""

  def __init__(self, config: Config):
    words = configs.as_flags(config)
    with socket.socket() as free:
      free.bind(("127.0.0.1", 0))
      words += [f"--coordinator=127.0.0.1:{free.getsockname()[1]}", "--processes=2"]
    self.logs = [pathlib.Path(f"{config.workdir}.{i}.log") for i in range(2)]
    self.processes = [
      subprocess.Popen(
        [sys.executable, "-m", "launch.train", *words, f"--process={i}"],
        cwd=ROOT,
        stdout=open(self.logs[i], "w"),
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
      )
      for i in range(2)
    ]

  def said(self, process: int = 0) -> str:
    return self.logs[process].read_text()

  def wait_for(self, text: str) -> None:
    """Waits until process 0 has printed it."""
    for _ in range(9000):
      if text in self.said():
        return
      if any(process.poll() is not None for process in self.processes):
        break
      time.sleep(0.1)
    pytest.fail(f"no {text!r} in: {self.said()}\nand process 1: {self.said(1)}")

  def codes(self) -> list[int]:
    """The exit codes, within a minute."""
    return [process.wait(timeout=60) for process in self.processes]


@pytest.fixture
def pair(make_config):
  """Starts a `Pair`; what is left of it when the test is over is killed."""
  started = []

  def start(folder, env_steps=ENDLESS) -> Pair:
    started.append(Pair(small(make_config, folder, env_steps)))
    return started[-1]

  yield start
  for process in (process for pair in started for process in pair.processes):
    process.kill()


def test_two_processes_are_one_with_twice_the_devices(tmp_path, make_config, pair, capfd):
  """They learn the same; if one is killed, the other ends; both numbers go on from the other's
  checkpoints, with the replay; and a signal to one stops and saves both.
  """
  one, two = tmp_path / "one", tmp_path / "two"
  assert train.train(small(make_config, one, 256)) == 0

  running = pair(two)
  running.wait_for("     384 steps")
  running.processes[1].kill()
  killed = time.perf_counter()
  assert running.codes() == [1, -signal.SIGKILL]
  assert time.perf_counter() - killed < 60
  assert running.said().count("error: another process of this run has ended") == 1
  assert "Traceback" not in running.said()
  assert running.said(1).count("\n") <= 1  # what gloo says: process 0 speaks for both
  for a, b in zip(arrays(one, 256), arrays(two, 256), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)

  last = max(int(path.name) for path in (two / "checkpoints").iterdir() if path.name.isdigit())
  capfd.readouterr()
  assert train.train(small(make_config, two, last + 128)) == 0
  said = capfd.readouterr().out
  assert f"resuming at {last:,} steps" in said and "at once, from the saved replay" in said

  running = pair(one)
  running.wait_for("     384 steps")
  running.processes[1].terminate()
  assert running.codes() == [128 + signal.SIGTERM] * 2
  assert "resuming at 256 steps" in running.said()
  assert "at once, from the saved replay" in running.said() and "stopped at" in running.said()
