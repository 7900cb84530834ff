"""What to expect of a preset: the curves that come with the package, and whose they are."""

import dataclasses

import numpy as np
import pytest

from muzero_jax import config as configs
from muzero_jax import flags
from muzero_jax.config import Config
from muzero_jax.reporting import charts, references
from muzero_jax.reporting.references import Reference
from muzero_jax.runs.history import RunRecord, grouped

CURVES = sorted(path.stem for path in (flags.PRESETS.parent / "reporting/references").iterdir())


def settings(preset, **changes):
  config = flags.parse(["settings", f"--preset={preset}"], Config())
  return configs.values(config) | {name.replace("__", "."): x for name, x in changes.items()}


def run(tmp_path, found, pairs):
  rows = [{"env_steps": x, "episode/return": y} for x, y in pairs]
  return RunRecord(tmp_path, {}, found, rows, [])


@pytest.mark.parametrize("preset", CURVES)
def test_a_curve_is_of_a_preset_and_reaches_its_end(preset):
  found = references.find(settings(preset, seed=11, workdir="x", env_steps=10**9))
  assert found and found.preset == preset
  for x, y in found.seeds:
    assert (np.diff(x) > 0).all() and np.isfinite(y).all()
    assert x[-1] >= 0.99 * settings(preset)["env_steps"] and len(x) < 200


@pytest.mark.parametrize(
  "change",
  [
    {"env__task": "Breakout-v5"},
    {"env__kind": "catch"},
    {"env__sticky": 0.25},
    {"targets__discount": 0.9},
    {"env__num_envs": 8},
  ],
)
def test_another_game_or_other_settings_have_no_curve(change):
  assert references.find(settings("quickstart"))
  assert references.find(settings("quickstart", **change)) is None


BY_HAND = Reference(
  "by_hand",
  [
    (np.array([10.0, 20.0, 30.0]), np.array([0.0, 2.0, 4.0])),
    (np.array([10.0, 20.0, 30.0]), np.array([2.0, 4.0, 8.0])),
  ],
)


def test_means_over_seeds_by_hand():
  x, y = BY_HAND.mean(20, 3)
  np.testing.assert_allclose([x, y], [[10, 20], [1, 3]])
  assert BY_HAND.mean(9, 3) is None
  assert (BY_HAND.at(30), BY_HAND.at(20), BY_HAND.at(15)) == ([4, 8], [2, 4], [])
  assert BY_HAND.name == "preset by_hand, 2 seeds"
  line = (np.arange(1.0, 101.0), np.arange(100.0))
  assert references.late(line, 100) == np.mean(range(90, 100))
  assert references.late(line, 1000) is None


@pytest.fixture
def known(monkeypatch):
  def find(found):
    return BY_HAND if found["env.kind"] == "catch" else None

  monkeypatch.setattr(references, "find", find)


def test_the_last_line_says_what_to_expect(known, tmp_path):
  one = run(tmp_path, settings("catch"), [(10, 0.0), (20, 3.0), (30, 5.0)])
  assert references.sentence(one, 30) == (
    "training return 5.00; expected at 30 steps: 6.00 (preset by_hand, 2 seeds, 4.00 to 8.00)."
  )
  assert references.sentence(one, 15) == ""
  assert references.sentence(dataclasses.replace(one, settings=settings("quickstart")), 30) == ""


def test_a_curve_is_drawn_beside_its_own_runs_only(known, tmp_path):
  pairs = [(10, 0.0), (20, 3.0)]
  for preset, count in (("catch", 2), ("quickstart", 1)):
    groups = grouped([run(tmp_path, settings(preset, env_steps=20), pairs)])
    assert len(charts.returns("", groups, "env_steps", 3).lines) == count
    assert len(charts.returns("", groups, "seconds", 3).lines) <= 1
  groups = grouped([run(tmp_path, settings("catch", env_steps=20), pairs)])
  own, other = charts.returns("", groups, "env_steps", 3).lines
  assert (other.dashed, own.dashed, other.color, other.x) == (True, False, charts.GRAY, [10, 20])


def test_published_agents_of_the_same_game():
  """Pong: 10 million frames are 2.5 million steps; figures as Dopamine's file of Pong has them."""
  pong = settings("pong_cpu")
  found = dict(references.published(pong, 2_500_000))
  assert [name.split()[0] for name in found] == ["DQN", "Rainbow", "IQN"]
  steps, returns = found["Rainbow (Dopamine, 5 seeds, sticky actions)"]
  assert (steps[0], steps[-1], returns[0], returns[-1]) == (250_000, 2_500_000, -20.42, 15.2)
  assert references.published(pong, 499_999) == []  # a single point
  assert len(references.published(pong, 1e9)[0][1][0]) == 27
  twice = references.published(pong | {"env.frame_skip": 2}, 2_500_000)
  assert twice[0][1][0][0] == 500_000
  for change in ({"env.kind": "gymnasium"}, {"env.task": "Surround-v5"}):
    assert references.published(pong | change, 1e9) == []


def test_published_agents_are_drawn_against_steps(tmp_path):
  pong = settings("pong_cpu", targets__discount=0.5)
  groups = grouped([run(tmp_path, pong, [(10, 0.0), (500_000, 3.0)])])
  _, *others = charts.returns("", groups, "env_steps", 3).lines
  assert [line.dashed for line in others] == [True] * 3
  assert len({line.color for line in others} | {charts.GRAY}) == 4
  assert others[0].x == [250_000, 500_000]
