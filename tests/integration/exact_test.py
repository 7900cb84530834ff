"""A run of Pong that was stopped goes on as if it had not been: `--resume=exact`."""

import dataclasses

import numpy as np
import pytest

from muzero_jax import train
from muzero_jax.config import ConfigError
from muzero_jax.runs import jsonl
from tests.integration.resume_test import bits, saved


def test_a_resumed_run_of_pong_equals_an_uninterrupted_one_bit_for_bit(
  tmp_path, make_config, capsys
):
  """1,024 steps of eight games on two devices in one go, and 600 then 1,024: the same parameters,
  optimizer, keys and replay, frames included. The ring has 64 rows, so that actions must be taken
  from it before it overwrites them; games end after 30 steps.
  """
  settings = dict(env__kind="envpool", env__task="Pong-v5", env__frame_size=16)
  settings |= dict(env__max_episode_steps=30, checkpoint__replay=True, search__kind="none")
  settings |= dict(evaluation__episodes=0, evaluation__random_episodes=0, resume="exact")
  one, two = (make_config(tmp_path / name, env_steps=1024, **settings) for name in "12")
  assert train.train(one) == 0
  assert train.train(dataclasses.replace(two, env_steps=600)) == 0
  assert train.train(two) == 0
  said = capsys.readouterr().out
  assert "playing 600 steps again" in said and "learning resumes at once" in said
  whole, resumed = bits(saved(one.workdir)), bits(saved(two.workdir))
  assert len(whole) > 50
  assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(whole, resumed, strict=True))
  rows = [jsonl.read(tmp_path / name / "metrics.jsonl")[-1] for name in "12"]
  assert rows[0]["loss/total"] == rows[1]["loss/total"] != 0
