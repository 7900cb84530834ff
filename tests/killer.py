"""Kills a training run at random moments, and starts it again each time, until it is done.

python -m tests.killer KILLS [SEED [SECONDS]] [pong] [flag of launch.train ...] compares a run of
Catch or Pong that was killed so often with one that was not, and prints what happened. Each time
it is killed up to so many seconds (3) after it has begun to start, compile, train or evaluate.
"""

import collections
import itertools
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np

ROOT = pathlib.Path(__file__).parents[1]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)
SETTINGS = (
  "--env.kind=catch --env.num_envs=8 --env.stack=1 --network.kind=mlp --network.support=10 "
  "--search.num_simulations=2 --replay.capacity=4096 --replay.warmup=512 --learner.batch_size=32 "
  "--targets.unroll=2 --targets.n_step=3 --evaluation.episodes=32 --evaluation.random_episodes=0 "
  "--cpu_devices=2 --checkpoint.replay --log_every=1024 --save_every=1024"
).split()
PONG = (
  "--env.kind=envpool --env.task=Pong-v5 --env.frame_size=16 --env.num_envs=2 --env.noop_max=5 "
  "--search.kind=q --loss.q=1 --loss.reward=0 --loss.value=0 --loss.policy=0 --targets.unroll=0 "
  "--targets.bootstrap=q_max --evaluation.episodes=0 --env_steps=8192 --evaluate_every=0 "
  "--resume=exact"
).split()

# What a run's output shows first in each phase.
PHASES = {
  "starting": "",
  "compiling": "\ncompiling",
  "training": " steps/s ",
  "evaluating": "player: compiling",
  "evaluated": "player: mean",
  "finished": "has done its",
}


def start(folder: pathlib.Path, words: list[str]) -> subprocess.Popen:
  return subprocess.Popen(
    [sys.executable, "-m", "launch.train", f"--workdir={folder}", *words],
    cwd=ROOT,
    stdout=open(folder.with_suffix(".log"), "a"),
    stderr=subprocess.STDOUT,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
  )


def run(folder: pathlib.Path, words: list[str]) -> str:
  """Trains without being disturbed; returns what the last start said."""
  before = folder.with_suffix(".log").stat().st_size if folder.with_suffix(".log").exists() else 0
  code = start(folder, words).wait()
  said = folder.with_suffix(".log").read_text()[before:]
  assert code == 0 and "Traceback" not in said, said
  return said


def kill_and_finish(
  folder: pathlib.Path, words: list[str], kills: int, seed: int, longest: float, phases: int = 3
) -> collections.Counter:
  """Kills the run so often, and then lets it finish.

  Each start is ended by a random signal, up to `longest` seconds after it has reached a random one
  of the first `phases` phases, so that all are met on a slow machine, too. It may be saving then. A
  start that is done before its time counts as a kill without a signal.

  Returns:
    How often each signal ended the run in which phase: the last of the phases that its output
    shows.
  """
  choose, log = random.Random(seed), folder.with_suffix(".log")
  happened = collections.Counter()
  for _ in range(kills):
    before = log.stat().st_size if log.exists() else 0
    number, seconds = choose.choice(SIGNALS), choose.uniform(0, longest)
    mark = choose.choice(list(PHASES.values())[:phases])
    process, begun = start(folder, words), 0.0
    while process.poll() is None and (not begun or time.perf_counter() - begun < seconds):
      if not begun and mark in log.read_text()[before:]:
        begun = time.perf_counter()
      time.sleep(0.02)
    process.send_signal(number)
    code = process.wait(timeout=120)
    said = log.read_text()[before:]
    assert "Traceback" not in said, said
    assert code in (0, -number, 128 + number), (code, said)
    happened[signal.Signals(number).name if code else "done", phase(said)] += 1
  run(folder, words)
  return happened


def phase(said: str) -> str:
  """The last phase that a run's output shows."""
  place, name = max((said.rfind(mark), name) for name, mark in PHASES.items() if mark)
  return name if place >= 0 else "starting"


def state(folder: pathlib.Path) -> list[np.ndarray]:
  """All arrays of a run's newest checkpoint."""
  from tests.integration.resume_test import bits, saved

  return bits(saved(folder))


def main() -> int:
  """Returns the exit code: 1 if any array of the two runs differs."""
  jax.config.update("jax_num_cpu_devices", 2)
  numbers = list(itertools.takewhile(str.isdecimal, sys.argv[1:]))
  kills, seed, longest = (int(x) for x in [*numbers, *("1", "0", "3")[len(numbers) :]])
  words = [*SETTINGS, "--env_steps=400000", "--evaluate_every=20480"]
  for word in sys.argv[1 + len(numbers) :]:
    words += PONG if word == "pong" else [word]
  folder = pathlib.Path(tempfile.mkdtemp())
  run(folder / "whole", words)
  phases = 3 if "--evaluation.episodes=0" in words else 4
  happened = kill_and_finish(folder / "killed", words, kills, seed, longest, phases)
  for (name, where), count in sorted(happened.items()):
    print(f"{name} while {where}: {count}")
  pairs = list(zip(state(folder / "whole"), state(folder / "killed"), strict=True))
  same = sum(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
  print(f"{same} of {len(pairs)} arrays are equal, bit for bit; the runs are in {folder}")
  return int(same < len(pairs))


if __name__ == "__main__":
  sys.exit(main())
