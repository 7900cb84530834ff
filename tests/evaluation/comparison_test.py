"""Performance profiles and the probability of improvement against numbers worked by hand."""

import itertools

import numpy as np
from scipy import stats

from muzero_jax.evaluation import comparison, intervals


def arrays(*games):
  return [np.array(game, np.float64) for game in games]


def test_a_profile_by_hand():
  """Above 1 are 2/4 of the first game's runs and 1/2 of the second's; a score of 1 is not above 1.

  Game by game, not over all runs: above 2 are (1/4 + 1/2) / 2 = 0.375, and 2 of 6 runs.
  """
  games = arrays([0, 1, 2, 3], [0, 5])
  found = comparison.profile(games, np.array([-1, 0, 1, 2, 4, 5]))
  np.testing.assert_allclose(found, [1, (3 / 4 + 1 / 2) / 2, 1 / 2, 0.375, 1 / 4, 0])


def test_the_interval_of_a_profile_by_hand():
  """Two runs, 0 and 1: resampled they are both 0, or both 1, with a chance of 1/4 each, so that the
  middle 95 % of the fractions above 0 reach from 0 to 1. All are above -1, none above 1.
  """
  found = comparison.profile_interval(arrays([0, 1]), np.array([-1.0, 0.0, 1.0]))
  np.testing.assert_array_equal(found, [[1, 0, 0], [1, 1, 0]])
  assert comparison.profile_interval(arrays([0, 1], [2]), np.array([0.0])) is None


def test_thresholds_are_the_scores_and_a_point_on_either_side():
  found = comparison.thresholds([arrays([1, 3], [101]), arrays([3, 2])])
  np.testing.assert_allclose(found, [-2, 1, 2, 3, 101, 104])
  assert len(comparison.thresholds([arrays(range(1000))], most=10)) == 12
  assert comparison.thresholds([arrays([7, 7])]).tolist() == [6, 7, 8]


def test_the_probability_of_improvement_by_hand():
  """First game, of 2 x 3 pairs: 1 beats 0 and equals 1; 4 beats all three: (1 + 1/2 + 3) / 6 = 3/4.
  Second game: 0 against 2: 0. The mean of both is 3/8.
  """
  x, y = arrays([1, 4], [0]), arrays([0, 1, 2], [2])
  assert comparison.improvement(x[:1], y[:1]) == 3 / 4
  assert comparison.improvement(x, y) == 3 / 8
  assert comparison.improvement(y, x) == 5 / 8
  assert comparison.improvement(x, x) == 1 / 2


def test_it_is_the_statistic_of_mann_and_whitney():
  """As rliable computes it: U over the number of pairs, and the mean over games."""
  rng = np.random.default_rng(0)
  x, y = (arrays(*rng.integers(0, 9, (3, runs))) for runs in (5, 7))
  by_scipy = [
    stats.mannwhitneyu(a, b, alternative="greater").statistic / 35
    for a, b in zip(x, y, strict=True)
  ]
  np.testing.assert_allclose(comparison.improvement(x, y), np.mean(by_scipy))


def test_the_interval_of_an_improvement_resamples_both_agents():
  """All 4 x 4 resamples of two runs each have the same chance; the interval is that of their
  quantiles: the extremes, which are 1/16 of them, more than 2.5 %.
  """
  x, y = arrays([0, 2]), arrays([1, 3])
  every = [
    comparison.improvement(arrays(a), arrays(b))
    for a in itertools.product([0, 2], repeat=2)
    for b in itertools.product([1, 3], repeat=2)
  ]
  found = comparison.improvement_interval(x, y)
  np.testing.assert_allclose(found, [min(every), max(every)])
  assert found == [0, 1] and comparison.improvement(x, y) == 1 / 4
  assert comparison.improvement_interval(x, arrays([1])) is None


def test_bounds_of_several_values_are_those_of_each():
  values = np.array([1.0, 2.0, 7.0])

  def both(sample, axis):
    return np.stack([sample.mean(axis), np.median(sample, axis)])

  found = intervals.bounds(both, values)
  each = [intervals.interval(of, values) for of in (np.mean, np.median)]
  np.testing.assert_allclose(found.T, each)
