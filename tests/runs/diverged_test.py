"""What is said and saved of a gradient step that diverged."""

import json
import re

import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax import config as configs
from muzero_jax.runs import diverged
from tests import builders

CONFIG = configs.Config()
INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
  ("found", "terms", "said"),
  [
    ((NAN, NAN, NAN), {"value": NAN, "reward": 1.0}, r"loss/value \(nan\) became infinite or no"),
    ((INF, INF, 1.0), {"value": 1.0, "reward": INF}, r"loss/reward \(inf\) became"),
    ((INF, INF, 1.0), {"value": 3e38, "reward": 3e38}, "the loss became inf, though each of its"),
    ((5.0, NAN, NAN), {"value": -4.0, "reward": 1.0}, r"norm became nan.* \(5, most .* loss/value"),
    ((5.0, 2.0, 2e4), {"value": 5.0}, r"as large as 20000 \(--optimizer\.limit=10000\)"),
    ((5.0, 2.0, 2.0), {"value": 5.0}, "the targets of the value"),
  ],
)
def test_reasons(found, terms, said):
  assert re.search(said, diverged.reason(found, terms, CONFIG))


def test_the_advice_is_made_of_flags_that_resuming_accepts():
  """The learning rate may not change without --override_config; skip_nonfinite may."""
  said = diverged.advice(CONFIG, 256)
  assert "--optimizer.learning_rate=0.0001 --override_config" in said
  assert "256 steps" in said and "--skip_nonfinite=10" in said
  skipping = configs.replace(CONFIG, {"skip_nonfinite": 10, "optimizer.limit": 5.0})
  assert not configs.differences(CONFIG, skipping)
  assert "--skip_nonfinite=20" in diverged.advice(skipping, 256)
  assert "start it again with a lower" in diverged.advice(CONFIG, None)


def test_what_is_saved_needs_no_pickle(tmp_path):
  batch = builders.example(2, num_actions=3)
  facts = {"loss": NAN, "updates": 3, "terms": {"value": -INF, "reward": 1.0}}
  place = diverged.save(tmp_path, facts, {"params": {"w": jnp.arange(2.0)}}, batch)
  diverged.save(tmp_path, facts, {"params": {"w": jnp.arange(3.0)}}, batch)  # only the newest
  with np.load(place / "state.npz", allow_pickle=False) as state:
    assert {name: x.tolist() for name, x in state.items()} == {"['params']['w']": [0, 1, 2]}
  with np.load(place / "batch.npz", allow_pickle=False) as found:
    assert found["policy"].shape == (2, 3, 3) and "frames" in found
  said = json.loads((place / "facts.json").read_text())
  assert said == {"loss": "nan", "updates": 3, "terms": {"value": "-inf", "reward": 1.0}}
