"""A run as a whole: what it leaves behind, resuming, stopping, refusing."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from muzero_jax import build, train
from muzero_jax import config as configs
from muzero_jax.config import ConfigError, DivergedError
from muzero_jax.evaluation import protocols, scores
from muzero_jax.runs import metrics, restore
from muzero_jax.runs.checkpoint import Checkpoints

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def signals():
  """Runs put handlers in place; tests put them back."""
  kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
  yield
  for number, handler in kept.items():
    signal.signal(number, handler)


def saved(folder) -> dict:
  """All arrays of the newest checkpoint."""
  config = restore.workdir.load(pathlib.Path(folder))
  run = build.build(config)
  local = run.local()
  with Checkpoints(folder, read_only=True) as checkpoints:
    small = dataclasses.replace(local, replay=None)
    return checkpoints.restore(learner=run.shared(), local=small, replay=local.replay)


def bits(tree):
  return [
    np.asarray(jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x)
    for x in jax.tree.leaves(tree)
  ]


def test_a_run_leaves_what_was_promised_and_resumes_bit_for_bit(tmp_path, make_config, capsys):
  """512 steps in one go, and 200 then 512: the same parameters, optimizer, keys, games and replay,
  bit for bit.
  """
  settings = dict(checkpoint__replay=True, replay__kind="prioritized", evaluation__episodes=2)
  assert train.train(make_config(tmp_path / "one", **settings)) == 0
  assert train.train(make_config(tmp_path / "two", **settings, env_steps=200)) == 0
  assert train.train(make_config(tmp_path / "two", **settings)) == 0
  one, two = bits(saved(tmp_path / "one")), bits(saved(tmp_path / "two"))
  assert len(one) == len(two) > 50
  assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, two, strict=True))

  said = capsys.readouterr().out
  assert "resuming at 200 steps" in said and "GiB" in said and "random play" in said
  rows = metrics.read(tmp_path / "one" / "metrics.jsonl")
  assert [row["env_steps"] for row in rows] == [128, 256, 384, 512]
  named = [
    "frames",
    "updates",
    "seconds",
    "env_steps_per_second",
    "simulations_per_second",
    "updates_per_second",
  ]
  for name in [
    *named,
    "episode/return",
    "episode/length",
    "loss/total",
    "loss/value",
    "replay/age",
    "search/entropy",
  ]:
    assert name in rows[-1], name
  for name in [
    "unroll/value_error_2",
    "unroll/reward_error_1",
    "calibration/return",
    "search/depth",
    "learner/dead_units",
  ]:
    assert np.isfinite(rows[-1][name]), name
  # 512 steps at 0.125 gradient steps each, but for the warm-up of 128 steps.
  assert rows[-1]["updates"] == (512 - 128) / 8
  scores = metrics.read(tmp_path / "one" / "evaluations.jsonl")
  assert [row["agent"] for row in scores] == ["trained", "random"]
  assert (
    scores[0]["env_steps"] == 512
    and len(scores[0]["returns"]) == 2
    and scores[0]["protocol"] == "own"
  )
  facts = json.loads((tmp_path / "one" / "config.json").read_text())
  assert facts["config"]["env.kind"] == "catch" and "jax" in facts["versions"] and facts["command"]
  assert (tmp_path / "one" / "curve.png").stat().st_size > 5_000
  assert "calibration/return" in (tmp_path / "one" / "report.html").read_text()
  assert list((tmp_path / "one").glob("events.*"))


def test_a_finished_run_goes_on_when_asked_for_more(tmp_path, make_config, capsys):
  """Run again, it says that it is done; without a saved replay it fills a new one before it learns
  on.
  """
  config = make_config(tmp_path, env_steps=256, evaluation__random_episodes=0)
  assert train.train(config) == 0
  before = len(metrics.read(tmp_path / "evaluations.jsonl"))
  assert train.train(config) == 0
  assert "has done its 256 steps" in capsys.readouterr().out
  assert len(metrics.read(tmp_path / "evaluations.jsonl")) == before  # nothing is evaluated twice
  assert train.train(dataclasses.replace(config, env_steps=512)) == 0
  assert "the replay starts empty" in capsys.readouterr().out
  updates = [row["updates"] for row in metrics.read(tmp_path / "metrics.jsonl")]
  assert updates == [0, 16, 16, 32]  # 128 steps of warm-up each time


def test_other_settings_are_refused_unless_overridden(tmp_path, make_config, capsys):
  config = make_config(
    tmp_path, env_steps=128, evaluation__episodes=0, evaluation__random_episodes=0
  )
  assert train.train(config) == 0
  other = configs.replace(config, {"search.num_simulations": 3, "env_steps": 256})
  with pytest.raises(ConfigError, match=r"--search\.num_simulations: was 2, now 3"):
    train.train(other)
  kept = (tmp_path / "config.json").read_text()
  network = configs.replace(
    config, {"network.size": "small", "override_config": True, "env_steps": 256}
  )
  with pytest.raises(ConfigError, match="of another network"):
    train.train(network)
  assert (tmp_path / "config.json").read_text() == kept  # what is saved can still be used
  assert restore.restore(str(tmp_path)).env_steps == 128
  assert train.train(configs.replace(other, {"override_config": True})) == 0
  assert "resuming at 128 steps" in capsys.readouterr().out


def test_all_ideas_at_once(tmp_path, make_config):
  """Reanalysis, target network, TD(lambda), stale returns, priorities, consistency, policy
  gradient: together they train.
  """
  ideas = dict(
    targets__reanalyse=0.5,
    targets__bootstrap="target",
    targets__td_lambda=0.9,
    targets__stale_after=20,
  )
  ideas |= dict(
    loss__consistency=2.0, loss__policy_gradient=0.5, optimizer__decay=30, search__kind="puct"
  )
  config = make_config(
    tmp_path,
    **ideas,
    replay__kind="prioritized",
    evaluation__episodes=0,
    evaluation__random_episodes=0,
  )
  assert train.train(config) == 0
  rows = metrics.read(tmp_path / "metrics.jsonl")
  assert -1 <= rows[-1]["loss/consistency"] < 0 < rows[-1]["learner/target_age"]
  assert np.isfinite(rows[-1]["loss/policy_gradient"])
  assert rows[-1]["updates"] == 48


def test_an_evaluation_of_another_protocol_is_refused(make_config):
  config = configs.Config()
  with pytest.raises(ConfigError, match="machado is played with all 18 actions"):
    protocols.for_protocol(config, "machado")
  full = configs.replace(config, {"env.full_action_set": True})
  with pytest.raises(ConfigError, match="100k is played with the minimal set"):
    protocols.for_protocol(full, "100k")
  name, rules = protocols.for_protocol(full, "auto")
  assert (name, rules.env.sticky, rules.env.noop_max, rules.env.max_episode_steps) == (
    "machado",
    0.25,
    1,
    27000,
  )
  name, rules = protocols.for_protocol(configs.replace(config, {"env.sticky": 0.25}), "auto")
  assert (name, rules.env.sticky, rules.env.noop_max) == ("100k", 0.0, 30)
  assert protocols.for_protocol(make_config(), "machado")[0] == "own"


def test_a_replay_that_cannot_fit_is_refused(tmp_path, make_config):
  with pytest.raises(
    ConfigError, match=r"--replay\.capacity=2000000000: the replay would take .* GiB"
  ):
    train.train(make_config(tmp_path, replay__capacity=2_000_000_000))
  with pytest.raises(ConfigError, match=r"--replay\.capacity=9: .* at least"):
    train.train(make_config(tmp_path, replay__capacity=9))


def test_a_workdir_that_cannot_be_used_is_refused(tmp_path, make_config):
  (tmp_path / "file").write_text("")
  with pytest.raises(ConfigError, match="cannot be written"):
    train.train(make_config(tmp_path / "file" / "run"))
  with pytest.raises(ConfigError, match="--workdir is missing"):
    train.train(make_config(""))
  with pytest.raises(ConfigError, match="no run in it"):
    restore.restore(str(tmp_path))


def test_one_run_at_a_time(tmp_path, make_config):
  from muzero_jax.runs import workdir

  config = make_config(tmp_path)
  _, lock = workdir.open_workdir(config)
  with lock, pytest.raises(ConfigError, match="another run is using it"):
    train.train(config)


def test_without_gradient_steps_a_run_acts_only(tmp_path, make_config, capsys):
  assert train.train(make_config(tmp_path, learner__updates_per_step=0.0)) == 0
  rows = metrics.read(tmp_path / "metrics.jsonl")
  assert [(row["env_steps"], row["updates"], row["updates_per_second"]) for row in rows][-1] == (
    512,
    0,
    0,
  )
  assert "episode/return" in rows[-1] and "loss/total" not in rows[-1]
  assert "mean return" in capsys.readouterr().out and (tmp_path / "report.html").exists()
  assert restore.restore(str(tmp_path)).env_steps == 512


def test_a_loss_that_is_no_number_stops_the_run(tmp_path, make_config):
  config = make_config(
    tmp_path,
    optimizer__learning_rate=1e30,
    optimizer__warmup=0,
    optimizer__clip=0.0,
    env_steps=4096,
  )
  with pytest.raises(DivergedError, match=r"lower --optimizer\.learning_rate"):
    train.train(config)


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


def start(folder, *more) -> subprocess.Popen:
  return subprocess.Popen(
    command(folder, *more),
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
  )


def wait_for_a_checkpoint(folder, process) -> None:
  for _ in range(600):
    if process.poll() is not None:
      pytest.fail(process.stdout.read())
    if Checkpoints(folder, read_only=True).latest() if (folder / "checkpoints").exists() else None:
      return
    time.sleep(0.1)
  pytest.fail("no checkpoint after a minute")


def test_kill_9_and_sigterm_lose_nothing_that_was_saved(tmp_path):
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
  steps = [row["env_steps"] for row in metrics.read(tmp_path / "metrics.jsonl")]
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


def test_scores_in_words():
  row = dict(task="Pong-v5", env_steps=1000, mean=-3.5, episodes=4, protocol="100k")
  said = scores.sentence(row, dict(mean=-20.5, episodes=8))
  assert said == (
    "Pong-v5 after 1,000 steps: mean return -3.50 of 4 games "
    "(protocol 100k, random play -20.50 of 8, published: random -20.7, human 14.6)."
  )


def test_metrics_after_the_checkpoint_are_forgotten(tmp_path):
  path = tmp_path / "metrics.jsonl"
  for steps in (10, 20, 30):
    metrics.append(path, {"env_steps": steps})
  path.write_text(path.read_text() + '{"env_st')
  metrics.forget(path, after=20)
  assert [row["env_steps"] for row in metrics.read(path)] == [10, 20]
  assert metrics.means(metrics.add({"a": (1.0, 2.0)}, {"a": (2.0, 2.0), "b": (0.0, 0.0)})) == {
    "a": 0.75
  }
