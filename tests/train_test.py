"""The host's side of training, in parts; whole runs are in tests/integration."""

import ctypes
import dataclasses
import json
import time
from types import SimpleNamespace

import jax
import pytest

from muzero_jax import build
from muzero_jax import config as configs
from muzero_jax import train as training
from muzero_jax.config import Config, ConfigError
from muzero_jax.device import chips, distributed
from muzero_jax.runs import metrics, storage
from muzero_jax.train import Training, train


@pytest.mark.parametrize(
  ("ticks", "warm", "updates", "said"),
  [
    (0, 100, 1.0, "takes 800 steps: lower --replay.warmup or raise --env_steps"),
    (60, 110, 1.0, "takes 400 steps"),  # resumed without its replay
    (0, 99, 1.0, ""),
    (0, 100, 0.0, ""),  # nothing is to be learned
    (100, 150, 1.0, ""),  # the run is over already
  ],
)
def test_a_warm_up_that_never_ends_is_said(ticks, warm, updates, said, capsys):
  """Of a run of 100 ticks of 8 environments."""
  config = SimpleNamespace(learner=SimpleNamespace(updates_per_step=updates))
  run = SimpleNamespace(width=8)
  Training.check_warmup(SimpleNamespace(ticks=ticks, warm=warm, total=100, config=config, run=run))
  printed = capsys.readouterr().out
  assert said in printed and bool(said) == bool(printed)


def test_processes_go_on_from_the_same_checkpoint(make_config, tmp_path, monkeypatch):
  """Process 0 has read one of 512 steps, and this process finds none that it can read."""
  monkeypatch.setattr(distributed, "agreed", lambda x: "512 steps" if x == "the beginning" else x)
  with pytest.raises(ConfigError, match=r"process 0 goes on from 512 steps and .* from the begi"):
    train(make_config(tmp_path / "run"))
  assert not list(tmp_path.glob("run/*.json*"))


@pytest.mark.parametrize(("steps", "said"), [(3_990, "nothing will be reset"), (4_000, "")])
def test_resets_that_never_come_are_said(steps, said, capsys):
  """A gradient step every 2 steps, and a reset every 1,000, but for the last 1,000."""
  config = configs.replace(
    Config(),
    {
      "env_steps": steps,
      "replay.warmup": 0,
      "learner.updates_per_step": 0.5,
      "learner.reset_every": 1000,
    },
  )
  learner = SimpleNamespace(resets=build.make_resets(config))
  run = SimpleNamespace(loop=SimpleNamespace(learner=learner))
  Training.check_resets(SimpleNamespace(ticks=0, total=1, config=config, run=run))
  printed = capsys.readouterr().out
  assert said in printed and bool(said) == bool(printed)


@pytest.mark.parametrize(
  ("ticks", "warm", "said"),
  [
    (60, 70, "learning resumes at 560 steps, once the replay is filled again\n"),
    (60, 60, "learning resumes at once, from the saved replay\n"),
    (0, 10, ""),  # a new run
    (100, 110, ""),  # the run is over
  ],
)
def test_it_is_said_when_learning_resumes(ticks, warm, said, capsys):
  """Of a run of 100 ticks of 8 environments."""
  config = SimpleNamespace(learner=SimpleNamespace(updates_per_step=1.0))
  run = SimpleNamespace(width=8)
  state = SimpleNamespace(ticks=ticks, warm=warm, total=100, config=config, run=run)
  Training._say_when_learning_resumes(state)
  assert capsys.readouterr().out == said


def test_the_reason_is_what_the_system_said():
  assert storage.reason(OSError(30, "Read-only file system", "x")) == "Read-only file system"
  full = ValueError("RESOURCE_EXHAUSTED: Failed to write\nmore [os_error_code='28']")
  assert storage.reason(full) == "No space left on device"
  assert storage.reason(ValueError("first line\nsecond")) == "first line"


class Blocking:
  """A program of `train.compiled` that returns at the end of its round, a millisecond per tick."""

  def __init__(self, program, clock):
    self.program, self.clock, self.memory_analysis = program, clock, program.memory_analysis

  def __call__(self, shared, local, ticks):
    found = jax.block_until_ready(self.program(shared, local, ticks))
    self.clock[0] += 1e-3 * int(ticks)
    return found


def test_on_a_gpu_each_row_has_the_time_of_its_own_rounds(make_config, tmp_path, monkeypatch):
  """A round has at most twice as many ticks as the one before, beginning with 8; a row has 40."""
  compiled, target, clock = training.compiled, chips.local(), [0.0]
  monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
  monkeypatch.setattr(chips, "local", lambda: dataclasses.replace(target, platform="gpu"))
  monkeypatch.setattr(training, "compiled", lambda *words: Blocking(compiled(*words), clock))
  width = 4 * target.devices.size
  train(make_config(tmp_path / "run", env_steps=width * 200, log_every=width * 40))
  rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
  rates = [row["env_steps_per_second"] for row in rows]
  assert rates == pytest.approx([1000 * width] * 5)


def test_freed_memory_is_returned_to_the_system():
  """256 MiB in small pieces, of which only the last one, at the top of the heap, is kept."""
  libc = ctypes.CDLL(None)
  libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
  pieces = [libc.malloc(2**16) for _ in range(2**12)]
  for piece in pieces:
    ctypes.memset(piece, 1, 2**16)
  for piece in pieces[:-1]:
    libc.free(piece)
  before = metrics.held()["memory/host"]
  training.return_memory()
  assert before - metrics.held()["memory/host"] > 0.2  # tests before this one have freed some, too
  libc.free(pieces[-1])
