"""Compares agents over their runs: performance profiles and the probability of improvement.

The definitions are those of Agarwal et al. 2021, Deep RL at the Edge of the Statistical Precipice,
and of its library rliable. Everywhere, `games` is one agent's scores: for each game an array with a
score for each run. Games may have different numbers of runs; all of them weigh alike.
"""

from collections.abc import Sequence

import numpy as np

from muzero_jax.evaluation import intervals

Games = Sequence[np.ndarray]


def profile(games: Games, thresholds: np.ndarray) -> np.ndarray:
  """The performance profile: for each threshold tau the fraction of runs with a score above tau.

  It is the run-score distribution of section 4.2: the mean over games of each game's
  fraction.

  Args:
    games: for each game, [..., its runs].
    thresholds: f64[T].

  Returns:
    f64[T, ...], in 0..1; it falls from left to right.
  """
  above = []
  for game in map(np.asarray, games):
    above.append((game > thresholds.reshape(-1, *[1] * game.ndim)).mean(-1))
  return np.mean(above, axis=0)


def profile_interval(games: Games, thresholds: np.ndarray) -> np.ndarray | None:
  """The confidence interval of `profile` at each threshold, f64[2, T], by a stratified bootstrap.

  None when a game has only one run.
  """

  def statistic(*resampled: np.ndarray, axis: int = -1) -> np.ndarray:
    del axis  # always the last
    return profile(resampled, thresholds)

  return intervals.bounds(statistic, *games)


def improvement(x: Games, y: Games) -> np.ndarray:
  """The probability of improvement P(X > Y): that a run of X is better than a run of Y.

  In each game it is the share of pairs of runs in which X has the higher score, where equal scores
  count one half (the statistic of Mann and Whitney's test, divided by the number of pairs); then
  the mean over games (section 4.3).

  Args:
    x, y: scores in the same games, in the same order; [..., runs] each.

  Returns:
    f64[...], in 0..1; 1/2 where neither is better.
  """
  return np.mean([_better(a, b) for a, b in zip(x, y, strict=True)], axis=0)


def _better(a: np.ndarray, b: np.ndarray) -> np.ndarray:
  difference = np.asarray(a)[..., :, None] - np.asarray(b)[..., None, :]
  return (np.sign(difference).mean((-2, -1)) + 1) / 2


def improvement_interval(x: Games, y: Games) -> list[float] | None:
  """The confidence interval of `improvement`, [low, high].

  The runs of both agents are resampled, independently of each other, game by game. None when a game
  has only one run of one of them.
  """
  count = len(x)

  def statistic(*resampled: np.ndarray, axis: int = -1) -> np.ndarray:
    del axis  # always the last
    return improvement(resampled[:count], resampled[count:])

  return intervals.interval(statistic, *x, *y)


def thresholds(agents: Sequence[Games], most: int = 200) -> np.ndarray:
  """Thresholds for the profiles of several agents, f64[T], in increasing order.

  They are the scores, at which the profiles fall, and a point on either side. If there are more
  than `most` different scores, `most` evenly spaced thresholds are in their place.

  Args:
    agents: the scores of each.
    most: see above.
  """
  scores = np.unique(np.concatenate([np.ravel(game) for games in agents for game in games]))
  low, high = scores[0], scores[-1]
  margin = 0.03 * (high - low) or 1.0
  inner = scores if len(scores) <= most else np.linspace(low, high, most)
  return np.concatenate([[low - margin], inner, [high + margin]])
