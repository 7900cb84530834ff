"""The commands as a user runs them, on the real Pong."""

import json
import os
import pathlib
import subprocess
import sys

import imageio.v3
import pytest

from muzero_jax.runs import jsonl

ROOT = pathlib.Path(__file__).parents[2]
SMALL = [
  "--env.num_envs=4",
  "--env.frame_size=48",
  "--network.kind=mlp",
  "--cpu_devices=2",
  "--search.num_simulations=2",
  "--replay.capacity=2000",
  "--replay.warmup=200",
  "--learner.batch_size=4",
  "--learner.updates_per_step=0.125",
  "--log_every=200",
  "--checkpoint.replay",
]


def call(command: str, workdir: pathlib.Path, *words: str) -> str:
  """What `python -m launch.COMMAND --workdir=... words` prints; it must succeed."""
  process = subprocess.run(
    [sys.executable, "-m", f"launch.{command}", f"--workdir={workdir}", *words],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
  )
  assert process.returncode == 0, process.stdout + process.stderr
  assert process.stderr == "", process.stderr
  return process.stdout


@pytest.fixture(scope="module")
def pong(tmp_path_factory):
  """A run of Pong of 400 steps with its folder and what it printed."""
  folder = tmp_path_factory.mktemp("pong")
  said = call(
    "train",
    folder,
    *SMALL,
    "--env_steps=400",
    "--evaluation.episodes=2",
    "--evaluation.random_episodes=2",
    "--video",
  )
  return folder, said


def test_pong_trains_and_says_where_everything_is(pong):
  folder, said = pong
  rows = jsonl.read(folder / "metrics.jsonl")
  assert [row["env_steps"] for row in rows] == [200, 400]
  assert rows[-1]["frames"] == 1600
  assert (
    rows[-1]["updates"] == 25
  )  # a gradient step per tick of 8 steps: those of the last 200 steps
  trained, chance = jsonl.read(folder / "evaluations.jsonl")
  assert trained["protocol"] == chance["protocol"] == "100k"
  for score in trained["returns"] + chance["returns"]:
    assert -21 <= score <= 21
  video, curve = folder / "video" / "400.mp4", folder / "curve.png"
  assert video.stat().st_size > 10_000 and curve.exists()
  assert imageio.v3.immeta(video)["fps"] == 15  # true speed: 60 frames, four of them a step
  assert "Search trees" in (folder / "report.html").read_text()
  score, *places = said.strip().splitlines()[-4:]
  assert "mean return" in score and "random play" in score
  assert places == [f"curve: {curve}", f"video: {video}", f"report: {folder / 'report.html'}"]


def test_a_run_of_pong_resumes(pong):
  """EnvPool's games start anew, the replay is kept."""
  folder, _ = pong
  said = call(
    "train",
    folder,
    *SMALL,
    "--env_steps=800",
    "--evaluation.episodes=0",
    "--evaluation.random_episodes=0",
  )
  assert "resuming at 400 steps" in said and "starts empty" not in said
  assert [(row["env_steps"], row["updates"]) for row in jsonl.read(folder / "metrics.jsonl")][
    -1
  ] == (800, 75)
  assert json.loads((folder / "config.json").read_text())["config"]["env_steps"] == 800


def test_evaluate_and_video(pong):
  folder, _ = pong
  said = call("evaluate", folder, "--episodes=3", "--protocol=100k", "--seed=7")
  assert "of 3 episodes (protocol 100k" in said
  assert len(jsonl.read(folder / "evaluations.jsonl")[-1]["returns"]) == 3
  said = call("video", folder, "--seed=1", "--plain", "--steps=30")
  assert ".mp4 (an episode of 30 steps" in said and "cut off there by --steps" in said


def test_a_person_plays_beside_the_agent(pong, monkeypatch):
  """In a window that nobody sees."""
  pytest.importorskip("pygame")
  monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
  assert "score 0 in 5 steps, not over" in call("play", pong[0], "--steps=5")


def test_probe(pong, tmp_path):
  """Shares of variance are at most 1, and everything is in the file, too."""
  folder, _ = pong
  result = tmp_path / "probe.json"
  said = call("probe", folder, "--steps=60", "--num_envs=4", f"--json={result}")
  assert "| own paddle (byte 51) | " in said and "search, as in evaluation" in said
  found = json.loads(result.read_text())
  assert max(found["now"]) <= 1 and set(found["effects"]) == {"1", "3", "5"}
  assert len(found["rates"]) == 5


def test_benchmark_splits_the_loop(tmp_path):
  words = [
    "--parts=loop,emulators,network,replay",
    "--ticks=3",
    "--repeats=1",
    "--profile",
    f"--json={tmp_path}/figures.json",
  ]
  said = call("benchmark", tmp_path, *SMALL, *words)
  assert "efficiency: " in said and "GFLOP/s" in said
  figures = json.loads((tmp_path / "figures.json").read_text())
  seconds = {name: values["median"] for name, values in figures["seconds_per_tick"].items()}
  assert seconds.keys() == {"loop", "emulators", "network", "replay"}
  # On a CPU emulators and network share the cores: the ideal is their sum.
  assert figures["efficiency"]["median"] * seconds["loop"] == pytest.approx(
    seconds["emulators"] + seconds["network"]
  )
  assert figures["env_steps_per_second"] == pytest.approx(8 / seconds["loop"])
  assert figures["simulations_per_second"] == pytest.approx(16 / seconds["loop"])
  assert (figures["updates_per_tick"], figures["batch"]) == (1, 8)
  assert (
    figures["costs"][0]["share"] >= figures["costs"][1]["share"] > 0
    and figures["costs"][0]["operation"] in said
  )
  assert figures["flops_per_tick"]["act"] > 0 and figures["peak_flops_per_second"] > 0


def test_ablation_trains_what_is_missing_and_compares_with_the_preset(tmp_path):
  """On short runs of Catch, two seeds: an idea is asked for, and the preset is trained, too. Done
  again, nothing is trained.
  """
  words = [
    "--preset=catch",
    "--preset=ideas/dqn",
    "--env_steps=4096",
    "--log_every=1024",
    "--evaluation.random_episodes=0",
    "--seeds=2",
    "--seed=3",
    "--ideas=mellowmax",
  ]
  said = call("ablation", tmp_path, *words).splitlines()
  assert said[0] == "2 variants, seeds [3, 4]: 4 runs"
  # On a slow machine a run has several lines.
  runs = dict.fromkeys(line.partition(": ")[0] for line in said if line.startswith("runs "))
  assert list(runs) == ["runs 1 to 2 of 4", "runs 3 to 4 of 4"]
  assert sum(": 2 seeds of catch after 4,096 steps: mean return " in line for line in said) == 2
  assert said[-3].startswith("| as it is | ") and said[-2].startswith("| mellowmax | ")
  kinds = [
    json.loads((tmp_path / name / "4" / "config.json").read_text())["config"]["search.q_acting"]
    for name in ("as_it_is", "mellowmax")
  ]
  assert kinds == ["epsilon", "mellowmax"]
  text = (tmp_path / "ablation.md").read_text()
  assert "\n".join(said[-3:-1]) in text and "`--search.q_acting=mellowmax`" in text
  assert (tmp_path / "ablation.png").stat().st_size > 10_000
  again = call("ablation", tmp_path, *words).splitlines()
  assert again[-3:] == said[-3:]
  assert sum(line.endswith("are finished already") for line in again) == 2


def test_a_suite_trains_its_runs_as_jobs_of_submitit(tmp_path):
  """Both at the same time on this machine; then it scores them. Done again, nothing is trained."""
  pytest.importorskip("submitit")
  words = [
    *SMALL,
    "--cpu_devices=1",
    "--games=Pong-v5",
    "--seeds=2",
    "--env_steps=400",
    "--evaluation.episodes=1",
    "--evaluation.random_episodes=0",
    "--submit=local",
  ]
  said = call("suite", tmp_path, *words, "--submit_options=timeout_min=30")
  assert said.startswith("2 runs, of which 2 are not finished\n") and "Pong-v5 100k" in said
  (task,) = json.loads((tmp_path / "suite.json").read_text())["tasks"]
  assert [(run["seed"], run["episodes"]) for run in task["runs"]] == [(0, 1), (1, 1)]
  assert call("suite", tmp_path, *words).startswith("2 runs, of which 0 are not finished\n")
