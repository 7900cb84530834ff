"""The package as a user installs it: the library, its presets, and one command, in any folder."""

import os
import pathlib
import subprocess
import sys

import pytest

from muzero_jax.runs import jsonl
from tests.integration.library_test import FILES

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def call(tmp_path_factory):
  """Calls the command of an installation, in a folder without anything of the repository in it.

  The package is built from the files of the repository alone.
  """
  folder = tmp_path_factory.mktemp("installed")
  site, elsewhere = folder / "site", folder / "elsewhere"
  elsewhere.mkdir()
  pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
  subprocess.run([*pip, "--no-deps", f"--target={site}", str(ROOT)], check=True, cwd=folder)

  def run(*words):
    return subprocess.run(
      [sys.executable, str(site / "bin" / "muzero-jax"), *words],
      cwd=elsewhere,
      env=os.environ | {"PYTHONPATH": str(site)},
      capture_output=True,
      text=True,
      check=False,
    )

  run.site, run.folder = site, elsewhere
  return run


def test_it_brings_presets_and_data(call):
  brought = {path.name for path in (call.site / "muzero_jax").rglob("*") if path.suffix != ".py"}
  assert {"pong_cpu.flags", "atari_scores.csv", "published.csv", "report.html"} <= brought


def test_mistakes_are_sentences(call):
  refused = call(
    "train", "--preset=catch", "--preset=ideas/td_lambda", "--workdir=x", "--env.stack=0"
  )
  assert refused.returncode == 2 and refused.stderr.startswith("error: --env.stack=0")
  unknown = call("train", "--preset=pong")
  assert unknown.returncode == 2 and "pong_cpu" in unknown.stderr
  report = call("report", "--workdir=x")
  assert report.returncode == 2 and "Traceback" not in report.stderr


def test_a_game_and_a_loss_of_one_s_own_are_trained_evaluated_and_reported(call):
  """Those of docs/library.md, from the folder that one works in."""
  for name in ("my_games.py", "my_losses.py"):
    (call.folder / name).write_text(FILES[name])
  words = [
    "--env.kind=custom",
    "--env.task=my_games:follow",
    "--loss.custom=my_losses:confidence=0.01",
    "--network.kind=mlp",
    "--env_steps=2048",
    "--replay.warmup=256",
    "--env.num_envs=8",
    "--learner.updates_per_step=0.0625",
    "--log_every=1024",
    "--evaluation.episodes=4",
    "--evaluation.random_episodes=0",
    "--cpu_devices=2",
  ]
  trained = call("train", "--workdir=mine", *words)
  assert trained.returncode == 0, trained.stderr
  rows = jsonl.read(call.folder / "mine" / "metrics.jsonl")
  assert rows[-1]["env_steps"] >= 2048 and "loss/confidence" in rows[-1]
  evaluated = call("evaluate", "--workdir=mine", "--episodes=3")
  assert evaluated.returncode == 0 and "of 3 episodes" in evaluated.stdout, evaluated.stderr
  report = call("report", "--workdir=mine")
  assert report.returncode == 0, report.stderr
  assert "loss/confidence" in (call.folder / "mine" / "report.html").read_text()
