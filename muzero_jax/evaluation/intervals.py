"""Statistics of scores: means that outliers do not move, normalization, bootstrap intervals. Pure
functions on arrays.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

LEVEL = 0.95  # of all confidence intervals
RESAMPLES = 10_000


def iqm(values: np.ndarray, axis: int = -1) -> np.ndarray:
  """Inter-quartile mean: of what is left when int(n / 4) values are cut off at either end."""
  return stats.trim_mean(values, 0.25, axis=axis)


SUMMARIES: dict[str, Callable] = {"mean": np.mean, "median": np.median, "iqm": iqm}


def normalized(score: float, random: float, human: float) -> float:
  """0 is random play, 1 a human."""
  return (score - random) / (human - random)


def interval(statistic: Callable, *samples: Sequence[float] | np.ndarray) -> list[float] | None:
  """The percentile bootstrap's confidence interval; the same every time, as its random numbers are.

  Args:
    statistic: called as `statistic(*samples, axis=-1)` with resampled samples [..., n]; returns
      [...].
    samples: each is resampled by itself and keeps its size: several are the strata of a stratified
      bootstrap.

  Returns:
    [low, high]; None when a sample has less than two values, which say nothing about their spread.
  """
  if min(len(sample) for sample in samples) < 2:
    return None
  result = stats.bootstrap(
    [np.asarray(sample, np.float64) for sample in samples],
    statistic,
    vectorized=True,
    n_resamples=RESAMPLES,
    batch=100,  # a matter of memory
    confidence_level=LEVEL,
    method="percentile",  # BCa is not defined when all values are equal
    rng=np.random.default_rng(0),
  )
  return [float(bound) for bound in result.confidence_interval]


def pooled(games: Sequence[np.ndarray]) -> np.ndarray:
  """The scores of all seeds of all games, [..., seeds of one game] each -> [..., all]; every game
  has the same weight.

  With unequal numbers of seeds, scores are repeated up to the least common multiple: the weighted
  mean and quantiles, exactly.
  """
  common = math.lcm(*(game.shape[-1] for game in games))
  return np.concatenate(
    [np.repeat(game, common // game.shape[-1], axis=-1) for game in games], axis=-1
  )


def _mean(*games: np.ndarray, axis: int = -1) -> np.ndarray:
  return pooled(games).mean(axis)


def _median(*games: np.ndarray, axis: int = -1) -> np.ndarray:
  """Over games, of their means over seeds."""
  return np.median([game.mean(axis) for game in games], axis=0)


def _iqm(*games: np.ndarray, axis: int = -1) -> np.ndarray:
  return iqm(pooled(games), axis)


def _optimality_gap(*games: np.ndarray, axis: int = -1) -> np.ndarray:
  """By how much runs fall short of a human on average; more than human counts as human."""
  return 1 - np.minimum(pooled(games), 1).mean(axis)


OVER_GAMES: dict[str, Callable] = {
  "mean": _mean,
  "median": _median,
  "iqm": _iqm,
  "optimality_gap": _optimality_gap,
}


def over_games(scores: Sequence[Sequence[float]]) -> dict[str, dict]:
  """Mean, median, IQM and optimality gap of normalized scores, with intervals of a bootstrap that
  resamples the seeds of each game.

  Agarwal et al. 2021, Deep RL at the Edge of the Statistical Precipice, section 4.

  Args:
    scores: for each game, those of its seeds.

  Returns:
    By statistic: value; interval [low, high], None when a game has one seed only.
  """
  games = [np.asarray(game, np.float64) for game in scores]
  return {
    name: {"value": float(of(*games)), "interval": interval(of, *games)}
    for name, of in OVER_GAMES.items()
  }


def in_words(value: float, bounds: list[float] | None) -> str:
  """A value with its interval."""
  return f"{value:.2f}" if bounds is None else f"{value:.2f} [{bounds[0]:.2f}, {bounds[1]:.2f}]"
