"""A run as a whole: all ideas at once, refusing."""

import dataclasses

import numpy as np
import pytest

from muzero_jax import config as configs
from muzero_jax import train
from muzero_jax.config import ConfigError
from muzero_jax.evaluation import protocols, scores
from muzero_jax.runs import jsonl, restore


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
  rows = jsonl.read(tmp_path / "metrics.jsonl")
  assert -1 <= rows[-1]["loss/consistency"] < 0 < rows[-1]["learner/target_age"]
  assert np.isfinite(rows[-1]["loss/policy_gradient"])
  assert rows[-1]["updates"] == 48


def test_protocols_and_action_sets(make_config):
  """Pong uses 6 actions of 18: with them the sticky protocol has a name of its own, and an agent
  of all 18 cannot play with 6. Boxing uses all 18, so that the sets are the same.
  """
  config = configs.Config()
  name, rules = protocols.for_protocol(config, "machado")
  assert (name, rules.env.sticky, rules.env.full_action_set) == ("machado-minimal", 0.25, False)
  boxing = configs.replace(config, {"env.task": "Boxing-v5"})
  assert protocols.for_protocol(boxing, "machado")[0] == "machado"
  every = configs.replace(boxing, {"env.full_action_set": True})
  assert protocols.for_protocol(every, "100k")[0] == "100k"
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
  # Acting as in training is no other environment, but another name: scores are not combined.
  drawn = protocols.acting_as(config, "sampled")
  assert protocols.for_protocol(drawn, "machado") == (
    "machado-minimal-sampled",
    dataclasses.replace(drawn, env=protocols.for_protocol(config, "machado")[1].env),
  )


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
  rows = jsonl.read(tmp_path / "metrics.jsonl")
  assert [(row["env_steps"], row["updates"], row["updates_per_second"]) for row in rows][-1] == (
    512,
    0,
    0,
  )
  assert "episode/return" in rows[-1] and "loss/total" not in rows[-1]
  assert "mean return" in capsys.readouterr().out and (tmp_path / "report.html").exists()
  assert restore.restore(str(tmp_path)).env_steps == 512


def test_scores_in_words():
  row = dict(task="Pong-v5", env_steps=1000, mean=-3.5, episodes=4, protocol="100k")
  said = scores.sentence(row, dict(mean=-20.5, episodes=8))
  assert said == (
    "Pong-v5 after 1,000 steps: mean return -3.50 of 4 episodes "
    "(protocol 100k, random play -20.50 of 8, published: random -20.7, human 14.6)."
  )
