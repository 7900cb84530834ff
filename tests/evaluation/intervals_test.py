"""Statistics against numbers worked by hand."""

import warnings

import numpy as np
import pytest

from muzero_jax.evaluation import intervals, scores


@pytest.fixture(autouse=True)
def no_warnings():
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    yield


@pytest.mark.parametrize(
  ("values", "expected"),
  [
    ([3.0], 3.0),
    ([1.0, 2.0, 9.0], 4.0),  # int(3 / 4) = 0: nothing is cut off
    ([50.0, 2.0, 3.0, 0.0, 4.0, 7.0], 4.0),  # one at either end: (2 + 3 + 4 + 7) / 4
    ([5.0, 1.0, 100.0, 2.0, 7.0, 3.0, 6.0, 4.0], 4.5),  # two at either end: (3 + 4 + 5 + 6) / 4
  ],
)
def test_iqm_by_hand(values, expected):
  assert intervals.iqm(np.array(values)) == expected


def test_the_interval_of_two_values_by_hand():
  """0 and 1: resampled means are 0, 1/2 and 1 with priorities 1/4, 1/2, 1/4, so the middle 95 %
  reach from 0 to 1.
  """
  assert intervals.interval(np.mean, [0.0, 1.0]) == [0.0, 1.0]


def test_the_interval_is_that_of_the_normal_distribution_where_there_is_much_data():
  """Standard error of 10,000 values of +-1: 0.01; the 95 % interval is 0 +- 1.96 of them."""
  values = np.tile([-1.0, 1.0], 5000)
  np.testing.assert_allclose(intervals.interval(np.mean, values), [-0.0196, 0.0196], atol=0.001)


@pytest.mark.parametrize("name", intervals.SUMMARIES)
def test_the_interval_contains_its_statistic_and_shrinks_with_more_data(name):
  """Four times the data, half the width."""
  of = intervals.SUMMARIES[name]
  values = np.random.default_rng(1).normal(5, 2, 1600)
  few, many = intervals.interval(of, values[:100]), intervals.interval(of, values)
  assert few[0] < of(values[:100]) < few[1] and many[0] < of(values) < many[1]
  assert 0.15 < (many[1] - many[0]) / (few[1] - few[0]) < 0.4  # a quarter


def test_the_interval_is_the_same_every_time():
  values = np.random.default_rng(1).normal(size=30)
  assert intervals.interval(np.mean, values) == intervals.interval(np.mean, values)


def test_degenerate_games_have_a_sensible_interval_or_none():
  """One game says nothing about the spread; equal games have none (their interval is a point)."""
  assert intervals.interval(np.mean, [7.0]) is None
  row = scores.summary([7.0], "Pong-v5")
  assert "intervals" not in row and row["mean"] == row["iqm"] == 7.0
  row = scores.summary([-21.0] * 8, "Pong-v5")
  assert [row["intervals"][name] for name in ("mean", "median", "iqm")] == [[-21.0, -21.0]] * 3


def test_intervals_of_a_row():
  """Pong, 0 and 1: the interval [0, 1] in human-normalized scores is (0 + 20.7) / 35.3 to 21.7 /
  35.3 (random -20.7, human 14.6).
  """
  row = scores.summary([0.0, 1.0], "Pong-v5")
  assert row["intervals"]["mean"] == [0.0, 1.0] and row["level"] == 0.95 and row["seeds"] == 1
  np.testing.assert_allclose(row["intervals"]["hns"], [20.7 / 35.3, 21.7 / 35.3])
  assert set(scores.summary([0.0, 1.0], "unheard-of")["intervals"]) == {"mean", "median", "iqm"}


def test_normalized_by_hand():
  """Breakout: random 1.7, human 30.5; a score of 16.1 is half way, 59.3 is twice a human."""
  for score, expected in ((1.7, 0.0), (16.1, 0.5), (30.5, 1.0), (59.3, 2.0)):
    np.testing.assert_allclose(intervals.normalized(score, 1.7, 30.5), expected, atol=1e-12)


def test_over_games_by_hand():
  """Games {0, 2}, {1, 3}, {5, 13}: means of 1, 2 and 9.

  Mean 12 / 3 = 4; median of the means 2; IQM of 0 1 2 3 5 13 without one at either end: 11 / 4 =
  2.75. Short of 1 falls one run of six.
  """
  found = intervals.over_games([[0.0, 2.0], [1.0, 3.0], [5.0, 13.0]])
  by_hand = {"mean": 4.0, "median": 2.0, "iqm": 2.75, "optimality_gap": 1 / 6}
  assert set(found) == set(by_hand)
  for name, value in by_hand.items():
    np.testing.assert_allclose(found[name]["value"], value)
    low, high = found[name]["interval"]
    assert low <= value <= high and low < high


def test_games_are_never_mixed():
  """Seeds agree within each game, and games are far apart. Resampled game by game, nothing can
  differ from what was seen.

  Mixed, the six runs would give means anywhere between 0 and 100: their standard error is about 40
  / sqrt(6).
  """
  scores = [[0.0, 0.0], [50.0, 50.0], [100.0, 100.0]]
  found = intervals.over_games(scores)
  assert found["mean"]["interval"] == [50.0, 50.0]
  assert found["median"]["interval"] == [50.0, 50.0]
  assert found["iqm"]["interval"] == [50.0, 50.0]  # of 0 0 50 50 100 100 without one at either end
  np.testing.assert_allclose(found["optimality_gap"]["interval"], [1 / 3, 1 / 3])
  low, high = intervals.interval(np.mean, np.ravel(scores))
  assert high - low > 40, "the trap is not there"


def test_games_with_more_seeds_weigh_no_more():
  """Games {0} and {3, 6}: means 0 and 4.5, their mean 2.25 (over runs it would be 3). 0 0 3 6
  without both ends: IQM 1.5.

  The gap is 1 in the first, 0 in the second: 1/2.
  """
  found = intervals.over_games([[0.0], [3.0, 6.0]])
  assert [found[name]["value"] for name in ("mean", "median", "iqm", "optimality_gap")] == [
    2.25,
    2.25,
    1.5,
    0.5,
  ]
  assert all(found[name]["interval"] is None for name in found)  # the first game has a single seed
