"""Learning learns: Catch from its preset, with every kind of search."""

import pathlib

import pytest

from muzero_jax import config as configs
from muzero_jax import flags, train
from muzero_jax.runs import jsonl

PRESET = pathlib.Path(__file__).parents[2] / "launch" / "presets" / "catch.flags"


@pytest.mark.usefixtures("compiled_as_usual")
@pytest.mark.parametrize("kind", ["gumbel", "puct", "none"])
def test_catch_is_learned(tmp_path, kind):
  """After two thirds of the preset's steps the mean return of greedy play is 0.95 at least (random
  play: -0.6; two devices with half of the games and batch each).
  """
  words = [
    "train",
    f"--flagfile={PRESET}",
    f"--workdir={tmp_path}",
    f"--search.kind={kind}",
    "--evaluation.random_episodes=0",
    "--env_steps=160000",
    "--novideo",
  ]
  config = flags.parse([*words, "--env.num_envs=32", "--learner.batch_size=128"], configs.Config())
  assert train.train(config) == 0
  (row,) = jsonl.read(tmp_path / "evaluations.jsonl")
  assert row["mean"] >= 0.95
