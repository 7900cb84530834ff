"""A run of Pong that was stopped goes on as if it had not been: `--resume=exact`."""

import shutil

import numpy as np

from muzero_jax import train
from muzero_jax.runs import jsonl
from muzero_jax.runs.checkpoint import Checkpoints
from tests.integration.resume_test import bits, saved


def test_a_run_of_pong_goes_on_bit_for_bit(tmp_path, make_config, capsys):
  """512 steps of four games on two devices, and again from its checkpoint at 400: the same keys,
  parameters, optimizer, statistics and replay, frames included. The ring has 64 rows of 4 steps, so
  that actions must be taken from it before it overwrites them; games end after 30 steps.

  Q alone is learned, because that compiles in less time than a model does.
  """
  settings = dict(env__kind="envpool", env__task="Pong-v5", env__frame_size=16, env__num_envs=2)
  settings |= dict(
    env__max_episode_steps=30, env__noop_max=5, search__kind="q", loss__q=1.0, loss__reward=0.0
  )
  settings |= dict(loss__value=0.0, loss__policy=0.0, targets__unroll=0, targets__bootstrap="q_max")
  settings |= dict(evaluation__episodes=0, evaluation__random_episodes=0, replay__capacity=256)
  settings |= dict(resume="exact", checkpoint__replay=True, save_every=400)
  one, two = (make_config(tmp_path / name, **settings) for name in "12")
  assert train.train(one) == 0
  shutil.copytree(one.workdir, two.workdir)
  shutil.rmtree(tmp_path / "2" / "checkpoints" / "512")
  capsys.readouterr()
  assert train.train(two) == 0
  assert "resuming at 400 steps\nplaying 400 steps again" in capsys.readouterr().out
  whole = saved(one.workdir)
  resumed = Checkpoints(two.workdir, read_only=True).load(lambda found: found.restore(**whole))
  pairs = list(zip(bits(whole), bits(resumed), strict=True))
  assert len(pairs) > 50 and all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
  rows = [jsonl.read(tmp_path / name / "metrics.jsonl") for name in "12"]
  assert rows[0][-1]["episode/length"] == rows[1][-1]["episode/length"] == 30
  # A gradient step per 8 steps, after 128 of them: some before the checkpoint, and some after it.
  assert [row["updates"] for row in rows[1]] == [0, 16, 32, 48]
  assert rows[0][-1]["loss/q"] == rows[1][-1]["loss/q"] > 0
