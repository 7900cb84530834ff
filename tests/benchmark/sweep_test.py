"""Sizes are chosen from measured times; here the times are made up."""

import re
from pathlib import Path

import pytest

from muzero_jax.benchmark import sweep
from muzero_jax.config import Config, ConfigError, replace
from muzero_jax.reporting import plots


def seconds(median):
  return dict(median=median, least=0.9 * median, most=1.1 * median)


def test_games_are_doubled_as_long_as_it_gains_five_per_cent():
  """8 games take 4 s a step, 16 2 s, 32 1.9 s (5.3 % faster), 64 1.85 s (2.7 %): 32."""
  times = {8: 4.0, 16: 2.0, 32: 1.9, 64: 1.85}
  sizes = [{"n": n} for n in times]
  assert sweep.climb(sizes, lambda changes: seconds(times[changes["n"]])) == {"n": 32}


def test_one_size_without_gain_does_not_end_the_climb_two_do():
  """16 takes 1.5 % longer than 8, 32 12 % less; 64 and 128 gain nothing, so 256 is not even tried,
  fast as it would be.
  """
  times, asked = {8: 2.0, 16: 2.03, 32: 1.76, 64: 1.8, 128: 1.75, 256: 0.5}, []

  def measure(changes):
    asked.append(changes["n"])
    return seconds(times[changes["n"]])

  assert sweep.climb([{"n": n} for n in times], measure) == {"n": 32}
  assert asked == [8, 16, 32, 64, 128]


def test_what_does_not_fit_is_not_chosen():
  sizes = [{"n": n} for n in (8, 16, 32)]
  assert sweep.climb(
    sizes, lambda changes: seconds(1 / changes["n"]) if changes["n"] < 32 else None
  ) == {"n": 16}
  with pytest.raises(ConfigError, match="--n=8 fits"):
    sweep.climb(sizes, lambda _: None)


def test_as_many_simulations_as_leave_four_fifths_of_the_speed():
  """0.8 s with 2; 0.9 / 0.8 with 4 keeps 0.89; 1.0 keeps 0.8; 1.01 keeps less."""
  times = {2: 0.8, 4: 0.9, 8: 0.999, 16: 1.01}
  assert sweep.afford([{"n": n} for n in times], lambda changes: seconds(times[changes["n"]])) == {
    "n": 8
  }


def test_autotune_chooses_one_after_the_other():
  """Every size is measured with those chosen before; the samples per step stay: 64 x 1/64 = 1 = 32
  x 1/32.
  """
  asked = []

  def measure(changes):
    asked.append(changes)
    games, batch, simulations = (
      changes.get(name, first)
      for name, first in (
        ("env.num_envs", 64),
        ("learner.batch_size", 64),
        ("search.num_simulations", 8),
      )
    )
    return seconds(1 / min(games, 16) + 1 / min(batch, 32) + 0.001 * simulations)

  chosen = sweep.autotune(Config(), measure)
  assert chosen == {
    "env.num_envs": 16,
    "learner.batch_size": 32,
    "learner.updates_per_step": 1 / 32,
    "search.num_simulations": 16,
  }
  assert asked[0] == {"env.num_envs": 8} and asked[-1] == chosen | {"search.num_simulations": 32}
  without = replace(Config(), {"search.kind": "none", "learner.updates_per_step": 0.0})
  assert sweep.autotune(without, measure) == {"env.num_envs": 16}


def test_growth_changes_one_size_at_a_time_and_is_drawn(tmp_path):
  asked = []

  def measure(changes):
    asked.append(changes)
    return None if changes.get("replay.capacity") == 1_000_000 else seconds(2e-4)

  found = sweep.growth(Config(), 2, measure)
  assert asked[0] == {"env.num_envs": 4} and {"search.kind": "none"} in asked
  assert all(
    changes["learner.batch_size"] * changes["learner.updates_per_step"] == 1
    for changes in asked
    if "learner.batch_size" in changes
  )
  assert list(found["environments"]) == ["8", "16", "32", "64", "128", "256"] and list(
    found["replay"]
  ) == ["10000", "100000"]
  assert "| replay | 10,000: 200 (180 to 220); 100,000: 200 (180 to 220) |" in sweep.table(found)
  plots.draw_growth(tmp_path / "growth.svg", found)
  picture = (tmp_path / "growth.svg").read_text()
  assert all(re.search(rf">{name}<", picture) for name in found)


def test_the_loop_is_measured_at_another_size(make_config, capsys):
  """Catch; a replay too small for the games is said and left out."""
  measure = sweep.loop_time(make_config(), ticks=4, repeats=1)
  found = measure({"env.num_envs": 2})
  assert found and 0 < found["least"] <= found["median"] <= found["most"]
  assert measure({"replay.capacity": 1}) is None
  said = capsys.readouterr().out
  assert (
    "--env.num_envs=2: " in said and "steps/s" in said and "left out (--replay.capacity=1: " in said
  )


@pytest.mark.parametrize("total", ["env.total_envs", "learner.total_batch_size"])
def test_totals_would_make_all_sizes_the_same(make_config, total):
  config = replace(make_config(), {total: 64})
  with pytest.raises(ConfigError, match=r"--autotune changes .* leave --env\.total_envs"):
    sweep.propose(config, 1, 1)
  with pytest.raises(ConfigError, match="--growth changes"):
    sweep.plot_growth(config, 1, 1, Path("growth.svg"))
