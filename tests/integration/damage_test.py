"""A run whose newest checkpoint was damaged goes on from the one before."""

import os
import shutil

import pytest

from muzero_jax import config as configs
from muzero_jax import train
from muzero_jax.config import ConfigError
from muzero_jax.evaluation.scores import summary
from muzero_jax.runs import jsonl, restore
from muzero_jax.runs.checkpoint import Checkpoints


def largest(folder):
  """The largest file in a folder."""
  return max((x for x in folder.rglob("*") if x.is_file()), key=lambda x: x.stat().st_size)


def evaluated(folder, steps):
  """Writes an evaluation of the agent of so many steps."""
  row = {"env_steps": steps, "task": "catch", "protocol": "own", "agent": "trained"}
  row |= {**summary([1.0, -1.0], "catch"), "lengths": [9, 9]}
  jsonl.append(folder / "evaluations.jsonl", row)


def test_the_one_before_is_used(tmp_path, make_config, capsys):
  """Checkpoints of 192 and 256 steps, the newer one cut, and a stray folder. Reading changes
  nothing; training sets both aside, drops the evaluation after 192 steps, and goes on. A run that
  is done with the one that is used drops what came after it, too. Where none is left, both refuse.
  """
  config = make_config(
    tmp_path,
    env_steps=256,
    save_every=64,
    log_every=64,
    optimizer__warmup=0,
    evaluation__episodes=0,
    evaluation__random_episodes=0,
  )
  assert train.train(config) == 0
  for steps in (192, 256):
    evaluated(tmp_path, steps)
  places = tmp_path / "checkpoints"
  name = largest(places / "256" / "learner")
  os.truncate(name, 100)
  (places / "99999999").mkdir()
  capsys.readouterr()

  assert restore.restore(str(tmp_path)).env_steps == restore.newest(str(tmp_path)) == 192
  said = capsys.readouterr().out
  assert said.count("is skipped; using 192") == 2 and name.name in said
  assert Checkpoints(tmp_path).steps() == [99999999, 256, 192]

  assert train.train(configs.replace(config, {"env_steps": 320})) == 0
  said = capsys.readouterr().out
  assert f"{places / '256'} is damaged (learner/" in said and "resuming at 192 steps" in said
  assert f"{places / '99999999'} is damaged (there is no learner in it)" in said
  assert [row["env_steps"] for row in jsonl.read(tmp_path / "evaluations.jsonl")] == [192]
  steps = [row["env_steps"] for row in jsonl.read(tmp_path / "metrics.jsonl")]
  assert steps == [64, 128, 192, 256, 320]
  assert Checkpoints(tmp_path).steps() == [320, 256]
  assert sorted(x.name for x in (tmp_path / "damaged").iterdir()) == ["256", "99999999"]
  assert len(list(tmp_path.glob("events.*"))) == 1

  evaluated(tmp_path, 320)
  largest(places / "320" / "learner").unlink()
  assert train.train(config) == 0
  assert "This run has done its 256 steps" in capsys.readouterr().out
  for name, kept in (("evaluations", [192]), ("metrics", [64, 128, 192, 256])):
    assert [row["env_steps"] for row in jsonl.read(tmp_path / f"{name}.jsonl")] == kept

  largest(places / "256" / "learner").unlink()
  before = (tmp_path / "metrics.jsonl").read_text()
  for use in (lambda: train.train(config), lambda: restore.restore(str(tmp_path))):
    with pytest.raises(ConfigError, match="none of the checkpoints can be used"):
      use()

  shutil.rmtree(places)
  with pytest.raises(ConfigError, match="was evaluated, and has no checkpoint any more"):
    train.train(config)
  assert (tmp_path / "metrics.jsonl").read_text() == before
  assert train.train(configs.replace(config, {"env_steps": 64, "override_config": True})) == 0
  assert [row["env_steps"] for row in jsonl.read(tmp_path / "metrics.jsonl")] == [64]
