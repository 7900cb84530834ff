"""Runs that diverge: nothing of it is saved, and what the message advises helps."""

import json
import re
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax import config as configs
from muzero_jax import together, train
from muzero_jax.config import ConfigError, DivergedError
from muzero_jax.runs import jsonl
from muzero_jax.types import Context, Model, Params, Term

QUIET = dict(evaluation__episodes=0, evaluation__random_episodes=0)


def poison(model: Model) -> Term:
  """A loss term that is NaN for about a tenth of all batches, and has no gradient."""
  del model

  def loss(params: Params, context: Context):
    bad = context.example.action[:, 0].sum() % 10 == 0
    return jnp.zeros(context.example.action.shape[0]) + jnp.where(bad, jnp.nan, 0.0)

  return Term(lambda key: {}, loss)


@pytest.fixture(autouse=True)
def own(monkeypatch):
  """A module with the term `poison`."""
  module = types.ModuleType("own")
  module.poison = poison
  monkeypatch.setitem(sys.modules, "own", module)


def bytes_of(folder) -> dict[str, bytes]:
  files = [path for path in (folder / "checkpoints").rglob("*") if path.is_file()]
  return {str(path): path.read_bytes() for path in files}


def test_an_exploding_run_keeps_its_checkpoints_and_the_advice_helps(tmp_path, make_config):
  """256 steps, then with a learning rate of 1e6: parameters would become 1e6 in one step. The
  flags that the message names are accepted, and the run goes on from its checkpoint.
  """
  kept = {"checkpoint__replay": True, "optimizer__warmup": 0, "save_every": 64}
  config = make_config(tmp_path, env_steps=256, **kept, **QUIET)
  assert train.train(config) == 0
  before = bytes_of(tmp_path)
  worse = {"optimizer.learning_rate": 1e6, "env_steps": 1024, "override_config": True}
  with pytest.raises(DivergedError) as caught:
    train.train(configs.replace(config, worse))
  said = str(caught.value)
  assert "a parameter would have become as large as" in said and "--optimizer.limit=10000" in said
  assert "The newest checkpoint, of 256 steps, is from before" in said and "\n" not in said
  assert bytes_of(tmp_path) == before

  facts = json.loads((tmp_path / "diverged" / "facts.json").read_text())
  updates = jsonl.read(tmp_path / "metrics.jsonl")[-1]["updates"]
  assert facts["updates"] == updates > 0 and facts["largest_parameter"] > 1e5
  with np.load(tmp_path / "diverged" / "batch.npz") as batch:
    assert batch["example.frames"].shape[:3] == (2, 8, 2) and batch["weight"].shape == (2, 8)
    assert (batch["example.policy"].sum(-1) > 0.99).all()
  with np.load(tmp_path / "diverged" / "state.npz") as state:
    assert max(np.abs(x).max() for name, x in state.items() if name.startswith("params")) < 100

  advised = dict(flag.split("=") for flag in re.findall(r"--([\w.]+=[\w.+-]*\w)", said))
  assert {"optimizer.learning_rate", "skip_nonfinite"} <= advised.keys()
  assert "--override_config" in said
  better = {"optimizer.learning_rate": 1e-3, "env_steps": 512, "override_config": True}
  assert float(advised["optimizer.learning_rate"]) == 1e5
  assert train.train(configs.replace(config, better)) == 0


def test_steps_are_skipped_and_counted_until_they_are_too_many(tmp_path, make_config, capsys):
  """Three may be skipped. The fourth ends the run; metrics stay finite, and what was skipped before
  the checkpoint is counted when the run is resumed.
  """
  config = make_config(
    tmp_path, loss__custom="own:poison=1", skip_nonfinite=3, save_every=64, log_every=64, **QUIET
  )
  with pytest.raises(DivergedError, match=r"loss/poison \(nan\) became infinite or no number"):
    train.train(config)
  said = capsys.readouterr().out
  counts = [int(x) for x in re.findall(r"skipped .*: (\d+) of 3 so far", said)]
  assert counts and counts == sorted(set(counts)) and counts[-1] <= 3
  text = (tmp_path / "metrics.jsonl").read_text()
  assert "NaN" not in text and "Infinity" not in text
  rows = jsonl.read(tmp_path / "metrics.jsonl")
  assert any(0 < row.get("learner/skipped", 0) < 1 for row in rows)
  facts = json.loads((tmp_path / "diverged" / "facts.json").read_text())
  assert facts["terms"]["poison"] == "nan" and np.isfinite(facts["terms"]["value"])
  # A gradient step per 8 steps after 128 of them; four were not taken.
  assert facts["updates"] + 4 == (facts["env_steps"] - 128) / 8
  assert facts["loss"] == "nan"

  with pytest.raises(ConfigError, match=r"--skip_nonfinite=0: this run has skipped [123] gradient"):
    train.train(configs.replace(config, {"skip_nonfinite": 0}))


def test_seeds_side_by_side_end_together_and_keep_their_checkpoints(tmp_path, make_config):
  """256 steps of two seeds, then with a learning rate of 1e6: the first gradient step that is too
  large ends both, and the message names the seed that took it.
  """
  folders = [tmp_path / "0", tmp_path / "1"]
  kept = {"checkpoint__replay": True, "optimizer__warmup": 0, "save_every": 64}
  config = make_config(tmp_path, env_steps=256, **kept, **QUIET)
  assert together.train(config, [0, 1]) == 0
  before = [bytes_of(folder) for folder in folders]
  worse = {"optimizer.learning_rate": 1e6, "env_steps": 1024, "override_config": True}
  with pytest.raises(DivergedError) as caught:
    together.train(configs.replace(config, worse), [0, 1])
  said = str(caught.value)
  assert "a parameter would have become as large as" in said and "\n" not in said
  assert "The newest checkpoint, of 256 steps, is from before" in said
  exploded = [folder for folder in folders if (folder / "diverged" / "state.npz").exists()]
  assert len(exploded) == 1 and str(exploded[0] / "diverged") in said
  assert [bytes_of(folder) for folder in folders] == before
  with np.load(exploded[0] / "diverged" / "state.npz") as state:
    assert max(np.abs(x).max() for name, x in state.items() if name.startswith("params")) < 100
