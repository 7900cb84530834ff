"""Catch, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.envs import catch, pure

LEFT, STAY, RIGHT = 0, 1, 2
KEY = jax.random.key(0)


def start(ball_column, columns=5):
  return catch.CatchState(jnp.int32(0), jnp.int32(ball_column), jnp.int32(columns // 2))


def play(game, state, actions):
  """[(board, reward, discount, last), ...]."""
  answers = []
  for action in actions:
    state, *answer = game.step(KEY, state, jnp.int32(action))
    answers.append([np.asarray(x) for x in answer])
  return answers


def board(rows, columns, *points):
  picture = np.zeros((rows, columns), np.uint8)
  for point in points:
    picture[point] = 255
  return picture


def test_a_caught_ball():
  """4 rows, 5 columns: the ball falls down column 3 while the paddle goes 2 -> 3 -> 3 -> 3. Rows 1,
  2, 3: over after 3 steps.
  """
  answers = play(catch.catch(4, 5), start(3), [RIGHT, STAY, STAY])
  expected = [
    (board(4, 5, (1, 3), (3, 3)), 0.0, 1.0, False),
    (board(4, 5, (2, 3), (3, 3)), 0.0, 1.0, False),
    (board(4, 5, (3, 3)), 1.0, 0.0, True),
  ]
  for answer, right in zip(answers, expected, strict=True):
    for value, number in zip(answer, right, strict=True):
      np.testing.assert_array_equal(value, number)


def test_a_missed_ball():
  """The paddle goes 2 -> 1 -> 2 -> 1, the ball lands in column 2: reward -1, terminated. On the way
  nothing is scored.
  """
  answers = play(catch.catch(4, 5), start(2), [LEFT, RIGHT, LEFT])
  assert [float(x[1]) for x in answers] == [0.0, 0.0, -1.0]
  assert [float(x[2]) for x in answers] == [1.0, 1.0, 0.0]
  assert [bool(x[3]) for x in answers] == [False, False, True]
  np.testing.assert_array_equal(answers[-1][0], board(4, 5, (3, 2), (3, 1)))


@pytest.mark.parametrize(("action", "edge"), [(LEFT, 0), (RIGHT, 4)])
def test_the_paddle_stops_at_the_walls(action, edge):
  """From column 2 a wall is 2 steps away; 3 further steps into it change nothing."""
  answers = play(catch.catch(10, 5), start(2), [action] * 5)
  for frame, *_ in answers[1:]:
    np.testing.assert_array_equal(np.flatnonzero(frame[9]), [edge])


def test_the_ball_starts_anywhere_in_the_top_row_and_the_paddle_in_the_middle():
  _, frames = jax.vmap(catch.catch().reset)(jax.random.split(KEY, 1000))
  frames = np.asarray(frames)
  assert frames.shape == (1000, 10, 5) and frames.dtype == np.uint8
  np.testing.assert_array_equal(frames[:, 9], np.tile([0, 0, 255, 0, 0], (1000, 1)))
  balls = (frames[:, 0] == 255).sum(0)
  assert frames[:, :9].astype(int).sum() == 1000 * 255, "one ball each"
  # 1000 draws, p = 1/5: 200 +- sqrt(1000 * .2 * .8) = 12.6; 5 sigma are 63.
  np.testing.assert_allclose(balls, 200, atol=63)


def test_episodes_have_9_transitions_and_a_step_for_the_reset():
  """10 rows: 9 transitions. Steps 0 .. 9, then a first step again: a first at 0, 10, 20; a last at
  9, 19, 29.
  """
  environment = pure.PureEnvironment(catch.catch(), 3)

  def step(state, _):
    state, time = environment.recv(state)
    return environment.send(state, jnp.ones(3, jnp.int32)), time

  _, times = jax.jit(lambda s: jax.lax.scan(step, s, length=30))(environment.reset(KEY))
  for env in range(3):
    np.testing.assert_array_equal(np.flatnonzero(times.first[:, env]), [0, 10, 20])
    np.testing.assert_array_equal(np.flatnonzero(times.last[:, env]), [9, 19, 29])
  # Who stays in the middle catches exactly the balls that start there.
  middle = np.asarray(times.frame)[::10, :, 0, 2] == 255
  np.testing.assert_array_equal(times.reward[9::10], np.where(middle, 1.0, -1.0))


def test_games_of_a_batch_and_later_episodes_differ():
  """A key is used once: neither the games of a batch nor one game's episodes repeat each other."""
  environment = pure.PureEnvironment(catch.catch(2, 100), 4)

  def step(state, _):
    state, time = environment.recv(state)
    return environment.send(state, jnp.ones(4, jnp.int32)), time

  # 2 rows: one transition, so every other step is a first one.
  _, times = jax.jit(lambda s: jax.lax.scan(step, s, length=8))(environment.reset(KEY))
  columns = np.asarray(times.frame)[::2, :, 0].argmax(-1)  # [4 episodes, 4 games]
  assert all(len(set(row)) > 1 for row in columns)
  assert all(len(set(row)) > 1 for row in columns.T)
