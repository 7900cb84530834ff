"""Scores and metrics of playing, by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax import actor
from tests import builders


def steps(reward, first, last, discount=None):
  """One environment's steps as a list of batches of one."""
  discount = [1.0] * len(reward) if discount is None else discount
  return [
    builders.time_step(1, reward=r, discount=d, first=f, last=e)
    for r, d, f, e in zip(reward, discount, first, last, strict=True)
  ]


def scores(times):
  """Score and length after each step, and the sums of the episode metrics."""
  episodes, seen, total = actor.no_episodes(1), [], None
  for time in times:
    episodes = actor.count(episodes, time)
    metrics = actor.episode_metrics(episodes, time)
    total = metrics if total is None else jax.tree.map(jnp.add, total, metrics)
    seen.append((float(episodes.score[0]), int(episodes.length[0])))
  return seen, total


def test_the_score_goes_on_over_a_lost_life():
  """Life loss may end the discount but not the episode: score and length of the full game, raw
  rewards. 0, then 4, 1 (life lost), 0, 7 (over): 0, 4, 5, 5, 12 after 0, 1, 2, 3, 4 agent steps.
  """
  seen, total = scores(steps([0, 4, 1, 0, 7], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1], [1, 1, 0, 1, 0]))
  assert seen == [(0, 0), (4, 1), (5, 2), (5, 3), (12, 4)]
  np.testing.assert_array_equal(total["episode/return"], [12.0, 1.0])  # sum, games
  np.testing.assert_array_equal(total["episode/length"], [4.0, 1.0])


def test_a_first_step_starts_from_zero():
  """The last step completes an episode's score, and the step after it belongs to the next: returns
  3 and -2 in 2 and 1 steps.
  """
  seen, total = scores(steps([0, 1, 2, 0, -2, 0], [1, 0, 0, 1, 0, 1], [0, 0, 1, 0, 1, 0]))
  assert seen == [(0, 0), (1, 1), (3, 2), (0, 0), (-2, 1), (0, 0)]
  np.testing.assert_array_equal(total["episode/return"], [1.0, 2.0])  # 3 - 2
  np.testing.assert_array_equal(total["episode/length"], [3.0, 2.0])  # 2 + 1


def test_a_truncated_game_is_reported_as_well():
  _, total = scores(steps([0, 5, 6], [1, 0, 0], [0, 0, 1]))
  np.testing.assert_array_equal(total["episode/return"], [11.0, 1.0])


def test_episode_metrics_look_only_at_games_that_end():
  """Three games, the first and the last end: 10 + 30 over 2, lengths 1 + 3 over 2."""
  episodes = actor.EpisodeStatistics(jnp.array([10.0, 20.0, 30.0]), jnp.array([1, 2, 3], jnp.int32))
  time = builders.time_step(3, last=[True, False, True])
  metrics = actor.episode_metrics(episodes, time)
  np.testing.assert_array_equal(metrics["episode/return"], [40.0, 2.0])
  np.testing.assert_array_equal(metrics["episode/length"], [4.0, 2.0])
  np.testing.assert_array_equal(metrics["episode/unfinished"], [20.0, 1.0])


def test_nothing_is_known_before_the_first_step():
  state = actor.new_actor(env=jnp.uint8(1), num_envs=2, num_actions=3)
  assert state.decision.action.shape == (2,) and state.decision.action.dtype == jnp.int32
  assert state.decision.policy.shape == (2, 3)
  np.testing.assert_array_equal(state.episodes.score, [0.0, 0.0])
  np.testing.assert_array_equal(state.episodes.length, [0, 0])


def test_restarted_games_score_from_zero_and_keep_the_newest_decision():
  """The decision still belongs into the replay's newest row; the games' scores do not go on."""
  state = actor.new_actor(env=jnp.uint8(1), num_envs=2, num_actions=3)
  decision = dataclasses.replace(state.decision, action=jnp.array([2, 1], jnp.int32))
  episodes = actor.EpisodeStatistics(jnp.array([5.0, 6.0]), jnp.array([7, 8], jnp.int32))
  again = actor.restarted(
    dataclasses.replace(state, decision=decision, episodes=episodes), jnp.uint8(2)
  )
  assert int(again.env) == 2
  np.testing.assert_array_equal(again.decision.action, [2, 1])
  np.testing.assert_array_equal(again.episodes.score, [0.0, 0.0])
  np.testing.assert_array_equal(again.episodes.length, [0, 0])
  assert again.episodes.length.dtype == jnp.int32
