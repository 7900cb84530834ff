"""A suite of games: which runs it plans, and how it goes on."""

import dataclasses
import re
import subprocess
import sys
import time

import pytest

from launch import suite as command
from muzero_jax import flags
from muzero_jax.config import Config, ConfigError
from muzero_jax.studies import process, series, suite
from tests.reporting.common import metric_rows, score, write_run


def words(folder, *more):
  return ["suite", "--preset=atari100k_cpu", f"--workdir={folder}", *more]


def planned(folder, games, seeds, preset="atari100k_cpu"):
  base = flags.parse(["suite", f"--preset={preset}", f"--workdir={folder}"], Config())
  return suite.runs_of(base, games, seeds)


def test_sets_of_games():
  assert len(suite.tasks("atari26", "envpool")) == 26
  assert len(suite.tasks("atari57", "envpool")) == 57
  assert suite.tasks("Pong-v5, atari26", "envpool").count("Pong-v5") == 1
  assert suite.tasks("minatar", "gymnax")[1] == "Breakout-MinAtar"


@pytest.mark.parametrize(
  ("more", "said"),
  [
    ([], "--games is missing"),
    (["--games=minatar"], "--games=minatar: these are games of --env.kind=gymnax"),
    (["--games=Pong-v5", "--seeds=2", "--index=2"], "--index=2: there are 2 runs; use 0 to 1"),
    (["--games=Pong-v5,Krull"], "--env.task=Krull: .* did you mean Krull-v5"),
    (["--games=Pong-v5", "--evaluation.episodes=0"], "--evaluation.episodes=0"),
  ],
)
def test_mistakes_are_one_sentence(more, said, tmp_path):
  with pytest.raises(ConfigError, match=said):
    command.main(words(tmp_path, *more))


def test_all_runs_are_trained_then_scored(tmp_path, monkeypatch, capsys):
  """Two games and two seeds; the trainer is replaced by one that writes finished runs."""
  trained = []

  def train(groups, progress, parallel):
    for (config,) in groups:
      trained.append((config.env.task, config.seed))
      mean = {"Pong-v5": -20.7, "Breakout-v5": 30.5}[config.env.task]  # random play, and a human
      row = score(mean, task=config.env.task, returns=[mean])
      changed = {"env__task": config.env.task, "seed": config.seed}
      place = tmp_path / config.env.task / str(config.seed)
      write_run(place, metric_rows([mean]), [row], **changed)

  monkeypatch.setattr(series, "train", train)
  command.main(words(tmp_path, "--games=Pong-v5,Breakout-v5", "--seeds=2", "--index=3"))
  assert trained == [("Breakout-v5", 1)] and not (tmp_path / "suite.json").exists()
  for path in (tmp_path / "Breakout-v5" / "1").iterdir():
    path.unlink()
  (tmp_path / "Breakout-v5" / "1").rmdir()
  command.main(words(tmp_path, "--games=Pong-v5,Breakout-v5", "--seeds=2"))
  assert trained[1:] == [(game, seed) for game in ("Pong-v5", "Breakout-v5") for seed in (0, 1)]
  said = capsys.readouterr().out
  assert "Pong-v5" in said and "Breakout-v5" in said
  assert (tmp_path / "suite.json").exists() and (tmp_path / "report.html").exists()


@pytest.fixture
def jobs(tmp_path, monkeypatch):
  """Two runs of Pong; `launch.train` is replaced by a program that is given to `start`."""
  runs = planned(tmp_path, "Pong-v5", (0, 1))

  def start(program):
    def popen(command, stdout, **more):
      seed = re.search(r"/(\d)\.flags", command[-1]).group(1)
      return original([sys.executable, "-c", program, seed, str(tmp_path)], stdout=stdout, **more)

    original = subprocess.Popen
    monkeypatch.setattr(process.subprocess, "Popen", popen)
    return series.groups(runs), series.SeriesProgress(2)

  return start


def test_runs_beside_each_other(jobs, tmp_path, capsys):
  """Each waits until the other has begun, so that one after the other would not end."""
  groups, progress = jobs(
    "import pathlib, sys, time\n"
    "seed, place = int(sys.argv[1]), pathlib.Path(sys.argv[2])\n"
    "(place / f'begun{seed}').touch()\n"
    "while not (place / f'begun{1 - seed}').exists(): time.sleep(0.02)\n"
    "print(f'Pong-v5 after 9 steps: mean return {seed}.00 of 3 episodes (protocol 100k).')\n"
  )
  series.train(groups, progress, parallel=2)
  said = capsys.readouterr().out
  for number, seed in ((1, 0), (2, 1)):
    assert f"run {number} of 2: {tmp_path}/Pong-v5/{seed}: Pong-v5 after 9 steps: mean ret" in said
  assert progress.over == 2 and "3 episodes" in said


def test_an_error_ends_the_others(jobs, capsys):
  """Seed 0 would run for a minute; it is asked to end, and waited for."""
  groups, progress = jobs(
    "import sys, time\nif sys.argv[1] == '1': sys.exit('error: no room')\ntime.sleep(60)\n"
  )
  begun = time.monotonic()
  with pytest.raises(ConfigError, match="Pong-v5/1 ended with exit code 1: error: no room"):
    series.train(groups, progress, parallel=2)
  assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
  ("visible", "parallel", "number", "gpu", "memory"),
  [("0,1,2", 2, 1, "1", None), ("4,5", 3, 2, "4", "0.450"), ("0,1", 1, 0, None, None)],
)
def test_each_process_gets_a_gpu(visible, parallel, number, gpu, memory, monkeypatch):
  """The third process of two GPUs shares the first one, of which each then takes 0.45."""
  monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
  variables = process.own_device(number, parallel)
  assert variables.get("CUDA_VISIBLE_DEVICES") == gpu
  assert variables.get("XLA_CLIENT_MEM_FRACTION") == memory
  monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
  monkeypatch.setattr(process, "attached_gpus", lambda: 0)
  assert process.own_device(number, parallel) == {}


def test_seeds_of_games_in_jax_are_trained_side_by_side(tmp_path):
  """Not those of EnvPool's games, nor different games; a gap between the seeds parts them."""
  pytest.importorskip("gymnax")
  runs = planned(tmp_path, "minatar", (0, 1, 2), preset="minatar_breakout")
  groups = series.groups(runs)
  assert [(group[0].env.task, len(group)) for group in groups] == [(x, 3) for x in suite.MINATAR]
  assert [run.seed for run in groups[0]] == [0, 1, 2]
  assert list(map(len, series.groups([runs[0], runs[2], runs[3]]))) == [1, 1, 1]
  pong = planned(tmp_path, "Pong-v5", (0, 1))
  assert list(map(len, series.groups(pong))) == [1, 1]


def test_a_run_has_the_settings_of_the_preset(tmp_path):
  [config] = planned(tmp_path, "Qbert-v5", [7])
  assert (config.env.task, config.seed) == ("Qbert-v5", 7)
  assert config.workdir == f"{tmp_path}/Qbert-v5/7"
  assert dataclasses.replace(config.env, task="Breakout-v5").frame_size == 48
