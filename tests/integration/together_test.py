"""Seeds trained side by side in one program are the runs that they would be alone."""

import json
import re

import jax
import numpy as np
import pytest

from muzero_jax import api, together, train
from muzero_jax.benchmark import memory
from muzero_jax.config import ConfigError
from muzero_jax.runs import jsonl


def params(folder):
  return jax.tree.leaves(api.load_agent(folder).params)


def rows(folder):
  """What each row says of learning: no times, rates and memory, and no slope through hardly any
  spread.
  """
  return [
    {name: x for name, x in row.items() if not re.search("second|skill|memory", name)}
    for row in jsonl.read(folder / "metrics.jsonl")
  ]


def test_seeds_side_by_side_are_the_runs_that_they_would_be_alone(
  tmp_path, make_config, capsys, monkeypatch
):
  """Also if one of them joins later: it is trained alone until it is as far as the others. States
  are taken apart at the end of each of the three parts only.
  """
  apart, part = [], together.part
  monkeypatch.setattr(together, "part", lambda *args: apart.append(args[1]) or part(*args))
  settings = dict(evaluation__episodes=0, evaluation__random_episodes=0, video=False)
  assert train.train(make_config(tmp_path / "alone", seed=1, env_steps=384, **settings)) == 0
  for env_steps, seeds in ((256, [0]), (384, [0, 1])):
    config = make_config(tmp_path / "side", env_steps=env_steps, **settings)
    assert together.train(config, seeds) == 0
  assert apart == [0, 0, 0, 1]
  printed = capsys.readouterr().out
  assert "a program for seed 1 ..." in printed and "a program for seed 0, seed 1 ..." in printed
  alone = rows(tmp_path / "alone")
  assert [row["env_steps"] for row in alone] == [128, 256, 384]
  for found, expected in zip(rows(tmp_path / "side/1"), alone, strict=True):
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-4)
  for found, expected in zip(params(tmp_path / "side/1"), params(tmp_path / "alone"), strict=True):
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
  assert rows(tmp_path / "side/0") != rows(tmp_path / "side/1")
  times = [row["seconds"] for row in jsonl.read(tmp_path / "side/1" / "metrics.jsonl")]
  assert times == sorted(times)
  assert json.loads((tmp_path / "side/1/config.json").read_text())["config"]["seed"] == 1
  assert (tmp_path / "side/report.html").exists()


def test_seeds_that_do_not_fit_into_memory_are_refused(tmp_path, make_config, monkeypatch):
  """Each seed fits, but not a copy of both replays."""

  def available(run):
    return int(1.5 * run.loop.ring.nbytes() * run.devices.size)

  config = make_config(tmp_path, replay__capacity=2**20)
  monkeypatch.setattr(memory, "available", available)
  with pytest.raises(ConfigError, match=r"--replay\.capacity=1048576: the replay would take"):
    together.train(config, [0, 1])


def test_seeds_that_are_too_large_are_refused(tmp_path, make_config):
  with pytest.raises(ConfigError, match=r"--seed=2147483648: must be at most 2147483647"):
    together.train(make_config(tmp_path / "side"), [2**31 - 1, 2**31])
  assert not (tmp_path / "side").exists()


def test_games_that_are_not_in_jax_are_refused(tmp_path, make_config):
  config = make_config(tmp_path, env__kind="envpool", env__task="Pong-v5", network__kind="vector")
  with pytest.raises(ConfigError, match=r"--seeds=2: only environments written in JAX"):
    together.train(config, [0, 1])
