"""Statistics of scores: inter-quartile mean, human normalization, bootstrap confidence intervals.

All of them are pure functions of arrays.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

LEVEL = 0.95  # of all confidence intervals
RESAMPLES = 10_000


def iqm(values: np.ndarray, axis: int = -1) -> np.ndarray:
  """Inter-quartile mean: the mean without the int(n / 4) lowest and int(n / 4) highest values."""
  return stats.trim_mean(values, 0.25, axis=axis)


SUMMARIES: dict[str, Callable] = {"mean": np.mean, "median": np.median, "iqm": iqm}


def normalized(score: float, random: float, human: float) -> float:
  """The human-normalized score: 0 is random play, 1 is the human score."""
  return (score - random) / (human - random)


def interval(statistic: Callable, *samples: Sequence[float] | np.ndarray) -> list[float] | None:
  """The confidence interval of a statistic by the percentile bootstrap.

  The random generator has a fixed seed: equal samples give equal intervals.

  Args:
    statistic: called as `statistic(*samples, axis=-1)` with resampled samples [..., n]; returns
      [...].
    samples: arrays of n values. Each one is resampled separately and keeps its size, so several
      samples are the strata of a stratified bootstrap.

  Returns:
    [low, high]; None when a sample has fewer than two values, from which no variation can be
    estimated.
  """
  found = bounds(statistic, *samples)
  return None if found is None else [float(bound) for bound in found]


def bounds(statistic: Callable, *samples: Sequence[float] | np.ndarray) -> np.ndarray | None:
  """As `interval`, as an array f64[2]; f64[2, T] if the statistic returns [T, ...]."""
  if min(len(sample) for sample in samples) < 2:
    return None
  result = stats.bootstrap(
    [np.asarray(sample, np.float64) for sample in samples],
    statistic,
    vectorized=True,
    n_resamples=RESAMPLES,
    batch=100,  # resamples computed at once; limits the memory
    confidence_level=LEVEL,
    method="percentile",  # BCa is not defined when all values are equal
    rng=np.random.default_rng(0),
  )
  return np.asarray(result.confidence_interval)


def pooled(games: Sequence[np.ndarray]) -> np.ndarray:
  """Concatenates the scores of all seeds of all games, such that every game has the same weight.

  Where games have different numbers of seeds, scores are repeated until each game has as many as
  the least common multiple of these numbers. Means and quantiles of the result are then exactly the
  weighted ones.

  Args:
    games: for each game, [..., its seeds].

  Returns:
    [..., all scores].
  """
  common = math.lcm(*(game.shape[-1] for game in games))
  return np.concatenate(
    [np.repeat(game, common // game.shape[-1], axis=-1) for game in games], axis=-1
  )


def _mean(*games: np.ndarray, axis: int = -1) -> np.ndarray:
  return pooled(games).mean(axis)


def _median(*games: np.ndarray, axis: int = -1) -> np.ndarray:
  """The median over games of each game's mean over seeds."""
  return np.median([game.mean(axis) for game in games], axis=0)


def _iqm(*games: np.ndarray, axis: int = -1) -> np.ndarray:
  return iqm(pooled(games), axis)


def _optimality_gap(*games: np.ndarray, axis: int = -1) -> np.ndarray:
  """The mean shortfall from the human score; scores above it count as equal to it."""
  return 1 - np.minimum(pooled(games), 1).mean(axis)


OVER_GAMES: dict[str, Callable] = {
  "mean": _mean,
  "median": _median,
  "iqm": _iqm,
  "optimality_gap": _optimality_gap,
}


def over_games(scores: Sequence[Sequence[float] | np.ndarray]) -> dict[str, dict]:
  """Mean, median, IQM and optimality gap of human-normalized scores over games.

  Their intervals are those of a stratified bootstrap, which resamples the seeds of each game:
  Agarwal et al. 2021, Deep RL at the Edge of the Statistical Precipice, section 4.

  Args:
    scores: for each game, the scores of its seeds.

  Returns:
    For each statistic a dictionary: "value", and "interval", [low, high] or None when a game has
    only one seed.
  """
  games = [np.asarray(game, np.float64) for game in scores]
  return {
    name: {"value": float(of(*games)), "interval": interval(of, *games)}
    for name, of in OVER_GAMES.items()
  }


def in_words(value: float, bounds: list[float] | None) -> str:
  """Formats a value with its interval: "1.23 [0.98, 1.50]"."""
  return f"{value:.2f}" if bounds is None else f"{value:.2f} [{bounds[0]:.2f}, {bounds[1]:.2f}]"
