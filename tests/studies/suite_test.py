"""A suite of games: which runs it plans, and how it goes on."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch import suite as command
from muzero_jax import config as configs
from muzero_jax import flags
from muzero_jax.config import Config, ConfigError, FailedError
from muzero_jax.evaluation import aggregate
from muzero_jax.runs import signals
from muzero_jax.studies import process, series, suite
from tests.reporting.common import metric_rows, score, write_run


def words(folder, *more):
  return ["suite", "--preset=atari100k_cpu", f"--workdir={folder}", *more]


def planned(folder, games, seeds, preset="atari100k_cpu"):
  base = flags.parse(["suite", f"--preset={preset}", f"--workdir={folder}"], Config())
  return suite.runs_of(base, games, seeds)


def finish(config, mean):
  """Writes a finished run with these settings, and this score."""
  settings = {name.replace(".", "__"): value for name, value in configs.values(config).items()}
  folder = Path(settings.pop("workdir"))
  row = score(
    mean,
    task=config.env.task,
    env_steps=config.env_steps,
    episodes=config.evaluation.episodes,
    returns=[mean],
  )
  write_run(folder, metric_rows([mean]), [row], **settings)


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
    (["--preset=catch", "--games=a,b"], "--games=a,b: --env.kind=catch is one game"),
    (["--games=Pong-v5", "--seed=2147483646", "--seeds=3"], "--seed=2147483648: must be at most"),
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
      finish(config, {"Pong-v5": -20.7, "Breakout-v5": 30.5}[config.env.task])  # random, a human

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
  assert json.loads((tmp_path / "suite.json").read_text())["over_tasks"]["iqm"]["value"] == 0.5
  assert "0.50 [0.50, 0.50]" in (tmp_path / "report.html").read_text()


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


def test_refused_settings_end_the_others(jobs):
  """Seed 0 would run for a minute; it is asked to end, and waited for."""
  groups, progress = jobs(
    "import sys, time\n"
    "if sys.argv[1] == '1': print('error: no such game') or sys.exit(2)\n"
    "time.sleep(60)\n"
  )
  begun = time.monotonic()
  with pytest.raises(ConfigError, match="Pong-v5/1 ended with exit code 2: error: no such game"):
    series.train(groups, progress, parallel=2)
  assert time.monotonic() - begun < 30


def other_settings(run):
  write_run(Path(run.workdir), [], search__num_simulations=3)


def same_settings(run):
  finish(run, 0.0)
  (Path(run.workdir) / "evaluations.jsonl").unlink()


def cut_settings(run):
  same_settings(run)
  os.truncate(Path(run.workdir) / "config.json", 9)


def only_checkpoints(run):
  (Path(run.workdir) / "checkpoints").mkdir(parents=True)


def unreadable_rows(run):
  """Folders, where files should be."""
  same_settings(run)
  (Path(run.workdir) / "metrics.jsonl").unlink()
  for name in ("metrics.jsonl", "evaluations.jsonl"):
    (Path(run.workdir) / name).mkdir()


@pytest.mark.parametrize("before", [same_settings, cut_settings, only_checkpoints, unreadable_rows])
def test_a_run_that_cannot_go_on_does_not_end_the_others(before, jobs, tmp_path, capsys):
  """Seed 0 has begun, with the settings of all: they can be used, and its refusal is its own."""
  groups, progress = jobs("import sys\nif sys.argv[1] == '0': print('error: no') or sys.exit(2)\n")
  before(groups[0][0])
  series.train(groups, progress)
  first, second = capsys.readouterr().out.splitlines()
  assert (
    f"{tmp_path}/Pong-v5/0: ended with exit code 2: error: no (" in first and ": done" in second
  )
  assert progress.over == 2 and progress.failed == [f"{tmp_path}/Pong-v5/0"]


def test_settings_with_which_another_run_has_ended_are_not_at_fault(jobs, tmp_path):
  """Whatever seed 1 is refused for; seed 0 was trained before."""
  groups, progress = jobs("import sys\nsys.exit(2 * int(sys.argv[1]))\n")
  series.train(groups, progress)
  assert progress.failed == [f"{tmp_path}/Pong-v5/1"]


@pytest.mark.parametrize("override", [False, True])
def test_a_folder_with_a_run_of_other_settings_ends_all(override, jobs, tmp_path):
  """Unless they are to be replaced, which that run alone may not be able to do."""
  groups, progress = jobs("import sys\nif sys.argv[1] == '0': sys.exit(2)\n")
  other_settings(groups[0][0])
  groups = [[dataclasses.replace(run, override_config=override) for run in x] for x in groups]
  if override:
    series.train(groups, progress)
    assert progress.failed == [f"{tmp_path}/Pong-v5/0"]
  else:
    with pytest.raises(ConfigError, match="Pong-v5/0 ended with exit code 2"):
      series.train(groups, progress)


def test_the_others_go_on_when_a_run_fails(jobs, tmp_path, capsys):
  groups, progress = jobs("import sys\nif sys.argv[1] == '0': sys.exit('error: it diverged')\n")
  series.train(groups, progress)
  first, second = capsys.readouterr().out.splitlines()
  assert first.startswith(
    f"run 1 of 2: {tmp_path}/Pong-v5/0: ended with exit code 1: error: it diverged ("
  )
  assert second.startswith(f"run 2 of 2: {tmp_path}/Pong-v5/1: done (")
  assert progress.over == 2 and progress.failed == [f"{tmp_path}/Pong-v5/0"]


@pytest.mark.parametrize("means", [[None, -3.0], [None, None]])
def test_what_is_finished_is_scored_when_a_run_fails(means, tmp_path, monkeypatch, capsys):
  """Two seeds, of which one or both end with exit code 1."""
  runs = planned(tmp_path, "Pong-v5", (0, 1))

  def popen(command, **more):
    seed = int(re.search(r"/(\d)\.flags", command[-1]).group(1))
    if means[seed] is not None:
      finish(runs[seed], means[seed])
    return original([sys.executable, "-c", f"exit({int(means[seed] is None)})"], **more)

  original = subprocess.Popen
  monkeypatch.setattr(process.subprocess, "Popen", popen)
  with pytest.raises(FailedError) as caught:
    command.main(words(tmp_path, "--games=Pong-v5", "--seeds=2"))
  failed = [run.workdir for run, mean in zip(runs, means, strict=True) if mean is None]
  assert f"these runs failed: {', '.join(failed)}." in str(caught.value)
  scored = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Pong-v5 ")]
  assert [line.split()[-1] for line in scored] == [f"{x:.2f}" for x in means if x is not None]
  assert (tmp_path / "suite.json").exists() == (len(failed) == 1)


def test_a_home_folder_is_expanded(tmp_path, monkeypatch, capsys):
  """With --workdir=~/runs, and with a relative one: the processes get absolute folders, and what is
  printed can be given to other commands.
  """

  def popen(words, **more):
    (run,) = (run for run in runs if words[-1] == f"--flagfile={run.workdir}.flags")
    assert f"--workdir={run.workdir}\n" in Path(f"{run.workdir}.flags").read_text()
    finish(run, -3.0)
    return original([sys.executable, "-c", "print('x: mean return -3.00 (')"], **more)

  original = subprocess.Popen
  monkeypatch.setattr(process.subprocess, "Popen", popen)
  monkeypatch.setenv("HOME", str(tmp_path))
  monkeypatch.chdir(tmp_path)
  for folder in ("~/runs", "relative"):
    place = tmp_path / folder.removeprefix("~/")
    runs = planned(place, "Pong-v5", (0,))
    command.main(words(folder, "--games=Pong-v5", "--seeds=1"))
    said = capsys.readouterr().out
    assert f"run 1 of 1: {place}/Pong-v5/0: x: mean return" in said
    (task,) = json.loads((place / "suite.json").read_text())["tasks"]
    scored = [
      aggregate.newest_evaluation(run["workdir"], "trained", "auto") for run in task["runs"]
    ]
    assert aggregate.aggregate(scored)["tasks"] == [task]
  assert not (tmp_path / "~").exists()


def test_a_suite_ends_when_its_output_is_closed(tmp_path, monkeypatch):
  """As in `suite | head`: the run that trains is told to end, and no other one is begun."""
  runs, begun = planned(tmp_path, "Pong-v5", (0, 1)), []
  original = subprocess.Popen

  def popen(words, **more):
    stop.note(signal.SIGPIPE)
    begun.append(original([sys.executable, "-c", "import time; time.sleep(60)"], **more))
    return begun[-1]

  monkeypatch.setattr(process.subprocess, "Popen", popen)
  with signals.command() as stop:
    with pytest.raises(signals.Stopped) as caught:
      series.train(series.groups(runs), series.SeriesProgress(2))
  assert caught.value.code == 128 + signal.SIGPIPE
  assert [one.returncode for one in begun] == [-signal.SIGTERM]


def test_seeds_beside_one_that_fails_are_trained_alone(tmp_path, monkeypatch, capsys):
  """The process of both seeds fails, and that of seed 1."""
  base = flags.parse(["suite", "--preset=catch", f"--workdir={tmp_path}"], Config())
  runs = suite.runs_of(base, "catch", (0, 1))
  program = "import sys\nif sys.argv[1][-7:] != '0.flags': sys.exit('error: nan')\nprint('done')\n"
  original = subprocess.Popen

  def popen(command, **more):
    return original([sys.executable, "-c", program, command[-1]], **more)

  monkeypatch.setattr(process.subprocess, "Popen", popen)
  progress = series.SeriesProgress(2)
  series.train(series.groups(runs), progress)
  said = [line.partition(" (")[0] for line in capsys.readouterr().out.splitlines()]
  failed = "ended with exit code 1: error: nan"
  alone = f"those that are not finished are trained alone, because it {failed}"
  assert [line for line in said if line.endswith((": done", "nan"))] == [
    f"runs 1 to 2 of 2: {tmp_path}/catch: {alone}",
    f"run 1 of 2: {tmp_path}/catch/0: done",
    f"run 2 of 2: {tmp_path}/catch/1: {failed}",
  ]
  assert progress.over == 2 and progress.failed == [f"{tmp_path}/catch/1"]


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
  monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.8")
  variables = process.own_device(number, parallel)
  assert variables.get("XLA_PYTHON_CLIENT_MEM_FRACTION") == memory
  assert "XLA_CLIENT_MEM_FRACTION" not in variables
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
