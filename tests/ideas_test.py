"""The flag files of ideas: each adds to a preset, and ideas go together."""

import jax
import pytest

from muzero_jax import build, flags, rules
from muzero_jax import config as configs
from muzero_jax.config import Config
from muzero_jax.device import parallel

TERMS = [
  *("short_value", "reconstruction", "pretrain", "hl_gauss", "drift", "consistency"),
  *("value_prefix", "ensemble_bonus"),
]
TARGETS = [
  *("vtrace", "retrace", "td_lambda", "prioritized_annealed", "reanalysis"),
  *("resets", "novelty"),
]


def settings(*ideas: str, preset: str = "catch") -> Config:
  words = [f"--preset={preset}", *(f"--preset=ideas/{idea}" for idea in ideas)]
  config = flags.parse(["train", *words], Config())
  rules.check(config)
  return config


@pytest.mark.parametrize("idea", [*TERMS, *TARGETS, "hadamax", "hierarchy", "reanalyzed_value"])
def test_an_idea_adds_to_a_preset(idea):
  assert settings(idea) != settings()
  settings(idea, preset="quickstart")


def test_ideas_go_together():
  """All terms, targets and measurements in one program: it is traced, not compiled."""
  small = {"search.kind": "none", "env.num_envs": 2}  # fast to trace
  run = build.build(configs.replace(settings(*TERMS, *TARGETS), small))
  tick = parallel.pmapped(lambda shared, local, _: run.loop.tick(shared, local), run.devices)
  shared, _, metrics = jax.eval_shape(tick, jax.eval_shape(run.shared), run.local(), 1)
  terms = {"value_prefix", "value", "policy", "consistency", "short_value", "reconstruction"}
  assert {f"loss/{name}" for name in terms} < set(metrics) and "unroll/drift_3" in metrics
  assert set(shared.learner.params) == {"model", "consistency", "short_value", "reconstruction"}
