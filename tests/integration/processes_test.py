"""Two processes on this machine that train one agent together."""

import contextlib
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
from muzero_jax.runs import jsonl, workdir
from muzero_jax.runs.saved import Saved
from tests.integration.damage_test import largest
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
# Two games for each device, with up to 30 no-ops, so that other seeds show other frames. Q alone is
# learned, which compiles in less time than a model does.
PONG = {
  "env.kind": "envpool",
  "env.task": "Pong-v5",
  "env.frame_size": 16,
  "env.num_envs": 2,
  "env.num_threads": 1,
  "search.kind": "q",
  "loss.q": 1.0,
  "loss.reward": 0.0,
  "loss.value": 0.0,
  "loss.policy": 0.0,
  "targets.unroll": 0,
  "targets.bootstrap": "q_max",
  "resume": "exact",
}


def small(make_config, folder, env_steps, **more) -> Config:
  return configs.replace(make_config(folder), SMALL | more | {"env_steps": env_steps})


def alone() -> dict[str, str]:
  """The environment, without what tells JAX of a cluster that the tests may run on, and without the
  level of C++'s messages that JAX has set in this process.
  """
  left_out = ("SLURM_", "OMPI_", "KUBERNETES_", "JAX_COORDINATOR", "TF_CPP_MIN_LOG_LEVEL")
  own = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
  return own | {"PYTHONPATH": str(ROOT)}


def scheduled(system: str, process: int, port: int) -> dict[str, str]:
  """What SLURM, or mpirun of Open MPI, tells each of two processes on this machine."""
  if system == "slurm":
    job = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    own = {"SLURM_PROCID": str(process), "SLURM_LOCALID": str(process)}
  else:
    uri = "1531576320.0;tcp://127.0.0.1,10.148.0.1:34911"
    job = {"OMPI_MCA_orte_hnp_uri": uri, "OMPI_COMM_WORLD_SIZE": "2"}
    own = {f"OMPI_COMM_WORLD_{name}": str(process) for name in ("RANK", "LOCAL_RANK")}
  return job | own | {"JAX_COORDINATOR_PORT": str(port)}


def arrays(folder, steps: int) -> list[np.ndarray]:
  """All arrays of a checkpoint: of the learner, the games and the replay."""
  run = build.build(workdir.load(folder))
  local = run.local()
  small = dataclasses.replace(local, replay=None)
  saved = Saved(folder / "checkpoints" / str(steps))
  return bits(saved.restore(learner=run.shared(), local=small, replay=local.replay))


class Pair:
  """Two processes of one run, with a device each; their outputs are in files.

  Args:
    config: of the run.
    system: "slurm" or "ompi": they find each other by what it tells them; "": by flags.
  """

  def __init__(self, config: Config, system: str = ""):
    words = configs.as_flags(config)
    with socket.socket() as free:
      free.bind(("127.0.0.1", 0))
      port = free.getsockname()[1]
    given = ["--coordinator=auto"]
    if not system:
      given = [f"--coordinator=127.0.0.1:{port}", "--processes=2"]
    self.logs = [pathlib.Path(f"{config.workdir}.{i}.log") for i in range(2)]
    self.processes = [
      subprocess.Popen(
        [
          sys.executable,
          "-m",
          "launch.train",
          *words,
          *given,
          *([] if system else [f"--process={i}"]),
        ],
        cwd=ROOT,
        stdout=open(self.logs[i], "w"),
        stderr=subprocess.STDOUT,
        env=alone() | (scheduled(system, i, port) if system else {}),
      )
      for i in range(2)
    ]

  def said(self, process: int = 0) -> str:
    """What a process has printed, but for a line of gloo's when they are connected."""
    lines = self.logs[process].read_text().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("[Gloo]"))

  def wait_for(self, text: str) -> None:
    """Waits until process 0 has printed it."""
    for _ in range(9000):
      if text in self.said():
        return
      if any(process.poll() is not None for process in self.processes):
        break
      time.sleep(0.1)
    pytest.fail(f"no {text!r} in: {self.said()}\nand process 1: {self.said(1)}")

  def codes(self, seconds: float = 60) -> list[int]:
    """The exit codes, within so much time for each."""
    return [process.wait(timeout=seconds) for process in self.processes]


@pytest.fixture
def pair(make_config):
  """Starts a `Pair`; what is left of it when the test is over is killed."""
  started = []

  def start(folder, env_steps=ENDLESS, system="", **more) -> Pair:
    started.append(Pair(small(make_config, folder, env_steps, **more), system))
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
  assert running.said(1) == ""  # process 0 speaks for both
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


def test_process_0_is_killed_and_a_scheduler_starts_both_again(tmp_path, pair):
  """The processes find each other by what Open MPI and, the second time, SLURM tell them. Process 0
  is the one through which they do.
  """
  folder = tmp_path / "run"
  running = pair(folder, system="ompi")
  running.wait_for("     384 steps")
  running.processes[0].kill()
  killed = time.perf_counter()
  assert running.codes() == [-signal.SIGKILL, 1]
  assert time.perf_counter() - killed < 60
  said = running.said(1)
  assert said.startswith("error: another process of this run has ended") and said.count("\n") == 1
  assert "(process 1 of 2); start all of them again" in said

  last = max(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
  running = pair(folder, env_steps=last + 128, system="slurm")
  assert running.codes(300) == [0, 0], running.said() + running.said(1)
  assert f"resuming at {last:,} steps" in running.said() and running.said(1) == ""
  steps = [row["env_steps"] for row in jsonl.read(folder / "metrics.jsonl")]
  assert steps == list(range(128, last + 129, 128))


def test_without_a_scheduler_nothing_is_found(tmp_path):
  words = ["--preset=catch", f"--workdir={tmp_path}", "--coordinator=auto"]
  call = subprocess.run(
    [sys.executable, "-m", "launch.train", *words],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    env=alone(),
  )
  assert call.returncode == 2 and call.stderr.count("\n") == 1, call.stderr
  assert call.stderr == (
    "error: --coordinator=auto: JAX finds neither SLURM, Open MPI, Kubernetes nor a TPU pod here; "
    "give each process the address of process 0, --processes and --process, for example "
    "--coordinator=10.0.0.1:1234 --processes=2 --process=0.\n"
  )


def test_pools_of_two_processes_are_those_of_one(tmp_path, make_config, pair, capfd):
  """Two processes learn Pong. Each steps the games of its own device: from the same seeds, one
  process with two devices plays the actions of both again, to the frames in their replays.
  """
  folder = tmp_path / "pong"
  running = pair(folder, 256, **PONG)
  assert running.codes(300) == [0, 0], running.said() + running.said(1)
  assert running.said(1) == ""
  rows = jsonl.read(folder / "metrics.jsonl")
  assert [row["env_steps"] for row in rows] == [128, 256]
  assert rows[-1]["updates"] == (256 - 128) / 8  # after 128 steps of warm-up
  capfd.readouterr()
  assert train.train(small(make_config, folder, 256, **PONG)) == 0
  assert "playing 256 steps again" in capfd.readouterr().out


def test_damage_and_divergence_with_two_processes(tmp_path, pair):
  """The newest checkpoint is damaged: both go on from the one before. At a learning rate of 1e6 the
  next gradient step explodes: both end, and the batch that is kept has the examples of both.
  """
  folder = tmp_path / "run"
  running = pair(folder, 256)
  assert running.codes(300) == [0, 0], running.said() + running.said(1)
  os.truncate(largest(folder / "checkpoints" / "256" / "learner"), 100)
  worse = {"optimizer.learning_rate": 1e6, "optimizer.warmup": 0, "override_config": True}
  running = pair(folder, **worse)
  assert running.codes(300) == [1, 1]
  said = running.said()
  assert "resuming at 128 steps" in said and said.count("is damaged (learner/") == 1
  assert (folder / "damaged" / "256").is_dir()
  assert "a parameter would have become as large as" in said and "Traceback" not in said
  assert running.said(1).startswith("error: At 136 steps") and running.said(1).count("\n") == 1
  with np.load(folder / "diverged" / "batch.npz") as batch:
    assert batch["weight"].shape == (2, 8)


def test_the_script_for_one_machine_starts_processes_and_stops_them(tmp_path, make_config):
  """Each of them gets SIGTERM from the script, and from the other; they save once, and end."""
  python = tmp_path / ".venv" / "bin" / "python"
  script = tmp_path / "launch" / "local.sh"
  for path, text in {
    script: (ROOT / "launch" / "local.sh").read_text(),
    python: f'#!/bin/bash\nexec "{sys.executable}" "$@"\n',
  }.items():
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o755)
  words = configs.as_flags(small(make_config, tmp_path / "run", ENDLESS, log_every=1024))
  process = subprocess.Popen(
    [script, "2", *words],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    env=alone() | {"JAX_PLATFORMS": "cpu"},
    start_new_session=True,
  )
  lines = []
  try:
    for line in process.stdout:
      lines.append(line)
      if " steps/s " in line:
        break
    process.terminate()
    lines.append(process.communicate(timeout=60)[0])
  finally:
    with contextlib.suppress(ProcessLookupError):
      os.killpg(process.pid, signal.SIGKILL)
  said = "".join(lines)
  assert process.returncode == 128 + signal.SIGTERM, said
  assert "2 device(s) with" in said and said.count("learning from") == 1, said
  assert said.count("stopped at") == 1 and "error" not in said, said
  newest = max(int(x.name) for x in (tmp_path / "run" / "checkpoints").iterdir())
  assert f"stopped at {newest:,} steps" in said
