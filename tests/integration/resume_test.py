"""What a run leaves behind, and how it goes on from there."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

from muzero_jax import build, train
from muzero_jax import config as configs
from muzero_jax.config import ConfigError
from muzero_jax.runs import jsonl, restore
from muzero_jax.runs.checkpoint import Checkpoints


def saved(folder) -> dict:
  """All arrays of the newest checkpoint."""
  config = restore.workdir.load(pathlib.Path(folder))
  run = build.build(config)
  local = run.local()
  small = dataclasses.replace(local, replay=None)
  found = Checkpoints(folder, read_only=True).load(
    lambda saved: saved.restore(learner=run.shared(), local=small, replay=local.replay)
  )
  assert found is not None
  return found


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
  rows = jsonl.read(tmp_path / "one" / "metrics.jsonl")
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
  scores = jsonl.read(tmp_path / "one" / "evaluations.jsonl")
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
  before = len(jsonl.read(tmp_path / "evaluations.jsonl"))
  assert train.train(config) == 0
  assert "has done its 256 steps" in capsys.readouterr().out
  assert len(jsonl.read(tmp_path / "evaluations.jsonl")) == before  # nothing is evaluated twice
  episodes = dataclasses.replace(config.evaluation, episodes=config.evaluation.episodes + 1)
  assert train.train(dataclasses.replace(config, evaluation=episodes)) == 0
  rows = jsonl.read(tmp_path / "evaluations.jsonl")
  assert [row["episodes"] for row in rows[before - 1 :]] == [
    episodes.episodes - 1,
    episodes.episodes,
  ]
  assert train.train(dataclasses.replace(config, env_steps=512)) == 0
  assert "the replay starts empty" in capsys.readouterr().out
  updates = [row["updates"] for row in jsonl.read(tmp_path / "metrics.jsonl")]
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
  facts = json.loads(kept)
  facts["config"]["learner.total_batch_size"] = 15  # of three devices; here are two
  (tmp_path / "config.json").write_text(json.dumps(facts))
  assert restore.restore(str(tmp_path)).env_steps == 128
  (tmp_path / "config.json").write_text(kept)
  assert train.train(configs.replace(other, {"override_config": True})) == 0
  assert "resuming at 128 steps" in capsys.readouterr().out


def test_another_number_of_environments_goes_on_at_the_same_steps(tmp_path, make_config, capsys):
  """Of 3 in place of 4 per device. A newer checkpoint is only a copy of an old one."""
  quiet = dict(evaluation__episodes=0, evaluation__random_episodes=0)
  config = make_config(tmp_path, env_steps=128, **quiet)
  assert train.train(config) == 0
  shutil.copytree(tmp_path / "checkpoints/128", tmp_path / "checkpoints/99999")
  width = 3 * jax.local_device_count()
  begun = -(-128 // width) * width
  other = {"env.num_envs": 3, "override_config": True, "env_steps": begun + 8 * width}
  assert train.train(configs.replace(config, other)) == 0
  said = capsys.readouterr().out
  assert "99999 is damaged (it was saved at 128 steps, and renamed)" in said
  assert "resuming at 128 steps" in said
  assert restore.restore(str(tmp_path)).env_steps == begun + 8 * width
  assert [row["env_steps"] for row in jsonl.read(tmp_path / "metrics.jsonl")] == [
    128,
    begun + 8 * width,
  ]
