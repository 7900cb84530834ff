"""Evaluation: the same games for everyone, stacked as in the replay, and numbers worked by hand."""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax import actor
from muzero_jax import config as configs
from muzero_jax.config import Config
from muzero_jax.envs import catch, pure
from muzero_jax.evaluation import evaluator as evaluate
from muzero_jax.evaluation import scores, scoring
from muzero_jax.replay.frames import Ring
from muzero_jax.runs import history
from muzero_jax.types import Model, record
from tests import builders


@record
class Clock:
  """Of one game of `fake`."""

  length: jax.Array
  step: jax.Array


def fake(lengths=(1, 20)):
  """A game that lasts one of `lengths` steps by chance and scores 1 for each."""

  def reset(key):
    length = jnp.array(lengths, jnp.int32)[jax.random.randint(key, (), 0, len(lengths))]
    return Clock(length, jnp.int32(0)), length[None].astype(jnp.uint8)

  def step(key, state, action):
    del key, action
    state = Clock(state.length, state.step + 1)
    last = state.step == state.length
    return state, state.length[None].astype(jnp.uint8), jnp.float32(1), 1.0 - last, last

  return pure.Game(reset, step, num_actions=2, frame_shape=(1,))


# A model whose hidden state is the stack itself, so that a search sees what is on the screen.
SEEING = Model(
  init=lambda key: {},
  encode=lambda params, frames: frames,
  predict=lambda params, hidden: (jnp.zeros((hidden.shape[0], 3)), jnp.zeros((hidden.shape[0], 1))),
  step=None,
  decode=lambda logits: logits[..., 0],
  encode_scalar=None,
)


def decide(action):
  return builders.decision(action.shape[0], 3, action=action)


def idle(params, key, root):
  """Always the first action."""
  del params, key
  return decide(jnp.zeros(root.value.shape[0], jnp.int32))


def oracle(params, key, root):
  """Catch: the ball is the highest point of the newest frame; go where it falls."""
  del params, key
  board = root.hidden[:, -1] > 0
  ball = jnp.argmax(board[:, :-1].any(1), -1)
  paddle = jnp.argmax(board[:, -1], -1)
  return decide(1 + jnp.sign(ball - paddle))


def away(params, key, root):
  """The opposite of the oracle; to the left where that is undecided."""
  action = 2 - oracle(params, key, root).action
  return decide(jnp.where(action == 1, 0, action))


def test_push_stacks_like_the_ring():
  """Acting, learning and evaluating stack in the same way: the first frame of an episode fills the
  stack.
  """
  steps, envs, stack = 40, 3, 4
  ring = Ring(
    rows=9, num_envs=envs, num_actions=3, frame_shape=(2,), stack=stack, unroll=1, window=3
  )
  random = np.random.RandomState(0)
  first = random.rand(steps, envs) < 0.25
  first[0] = True
  replay, frames = ring.init(), jnp.zeros((envs, stack, 2), jnp.uint8)
  decision = actor.new_actor(None, envs, 3).decision
  add, push, recent = jax.jit(ring.add), jax.jit(evaluate.push), jax.jit(ring.recent)
  history = []
  for t in range(steps):
    frame = random.randint(0, 256, (envs, 2)).astype(np.uint8)
    time = builders.time_step(envs, frame=frame, first=first[t], last=first[(t + 1) % steps])
    replay, frames = add(replay, decision, time, jnp.int32(0)), push(frames, time)
    # By hand: one list per environment that a first frame starts again, S times the first frame in
    # front.
    history = [
      [f] * stack if b else [*h, f]
      for f, b, h in zip(frame, first[t], history or [[]] * envs, strict=True)
    ]
    np.testing.assert_array_equal(frames, np.array([h[-stack:] for h in history]))
    np.testing.assert_array_equal(recent(replay), frames)


def reference(environment, key, rounds):
  """Games of every environment, one after the other, in plain Python; and all games in the order in
  which they end.
  """
  state = environment.reset(key)
  games, order, length = (
    [[] for _ in range(environment.num_envs)],
    [],
    np.zeros(environment.num_envs, int),
  )
  send = jax.jit(environment.send)
  while min(len(g) for g in games) < rounds:
    time = state.time
    length = np.where(time.first, 0, length + 1)
    for env in np.flatnonzero(time.last):
      games[env].append(int(length[env]))
      order.append(int(length[env]))
    state = send(state, jnp.zeros(environment.num_envs, jnp.int32))
  return [[g[i] for g in games] for i in range(rounds)], order


@pytest.mark.parametrize("episodes", [40, 37])
def test_every_environment_plays_the_same_number_of_episodes(episodes):
  """Short games are not over-counted: with games of 1 and of 200 steps, short ones are more
  frequent among those that end first. The program is left and entered again every 256 steps: that
  changes nothing.
  """
  environment = pure.PureEnvironment(fake((1, 200)), 8)
  evaluator = evaluate.Evaluator(environment, SEEING, idle, stack=2)
  key, told = jax.random.key(3), []
  result = evaluator.play({}, key, episodes, between=told.append)
  rounds, order = reference(
    environment, jax.random.split(key)[0], 5
  )  # 40 and 37 games of 8 environments: 5 each
  expected = [length for games in rounds for length in games][:episodes]
  assert result["lengths"] == expected
  assert result["returns"] == [float(length) for length in expected]
  assert np.mean(order[:episodes]) < np.mean(expected) - 10, "the trap is not there"
  over = [now.over for now in told]
  assert len(over) > 1 and over == sorted(over) and over[-1] == 40
  assert max(now.steps for now in told) <= 200 and told[-1].stuck == 0


def test_long_and_short_games_have_their_shares():
  """300 games of 1 or 20 steps with the same chance: 150 long ones, +- sqrt(300)/2 = 8.7; 5 sigma
  are 44.
  """
  evaluator = evaluate.Evaluator(pure.PureEnvironment(fake(), 50), SEEING, idle, stack=1)
  lengths = evaluator.play({}, jax.random.key(0), 300)["lengths"]
  assert set(lengths) == {1, 20}
  assert abs(lengths.count(20) - 150) < 44


@pytest.mark.parametrize(("search", "score"), [(oracle, 1.0), (away, -1.0)])
def test_catch_is_played_as_the_search_says(search, score):
  """Who follows the ball catches all of them, who flees none; 9 agent steps each. Also: games are
  counted to the end.
  """
  told = []
  evaluator = evaluate.Evaluator(pure.PureEnvironment(catch.catch(), 4), SEEING, search, stack=2)
  result = evaluator.play({}, jax.random.key(0), 10, between=told.append)
  assert result == {"returns": [score] * 10, "lengths": [9] * 10, "idle": [-1] * 10}
  assert told[-1].over == 12  # 3 rounds of 4 games


def test_the_search_never_hears_the_same_key_twice():
  """A key is used once."""
  environment = pure.PureEnvironment(catch.catch(), 2)

  def search(params, key, root):
    return dataclasses.replace(idle(params, key, root), value=jnp.full(2, jax.random.uniform(key)))

  evaluator = evaluate.Evaluator(environment, SEEING, search, stack=1)
  player, step, values = evaluator.start(jax.random.key(0)), jax.jit(evaluator.step), []
  for _ in range(20):
    player, _, decision = step({}, player)
    values.append(float(decision.value[0]))
  assert len(set(values)) == 20


def test_finish_counts_whole_unclipped_games_and_no_more_than_asked():
  """Two environments, one game each. Environment 0: 3, then -4 at the end: -1 after 2 steps; its
  second game is not written down. Environment 1 loses a life on the way (discount 0): 5 + 6 + 7 =
  18 after 3.
  """
  games = evaluate.no_results(2, 1)
  rewards = [[0, 0], [3, 5], [-4, 6], [0, 7], [100, 0]]
  first = [[1, 1], [0, 0], [0, 0], [1, 0], [0, 1]]
  last = [[0, 0], [0, 0], [1, 0], [0, 1], [1, 0]]
  discounts = [[1, 1], [1, 0], [0, 1], [1, 0], [0, 1]]
  for r, f, e, d in zip(rewards, first, last, discounts, strict=True):
    time = builders.time_step(2, reward=r, discount=d, first=f, last=e)
    games = evaluate.finish(games, time)
  np.testing.assert_array_equal(games.played, [1, 1])
  np.testing.assert_array_equal(games.score, [[-1.0], [18.0]])
  np.testing.assert_array_equal(games.length, [[2], [3]])


def test_episodes_that_were_stuck_when_they_were_cut_off():
  """Three games of 6 steps after the first. Game 0 has a reward at step 2, game 1 loses a life at
  step 4 (discount 0); both are truncated, 4 and 2 steps later. Game 2, without either, ends by
  itself.
  """
  games = evaluate.no_results(3, 1)
  for step in range(7):
    reward, discount = [step == 2, 0, 0], [1, step != 4, step != 6]
    last, first = step == 6, step == 0
    time = builders.time_step(3, reward=reward, discount=discount, first=first, last=last)
    games = evaluate.finish(games, time)
    if step == 5:
      assert evaluate.progress(games) == evaluate.EvaluationProgress(0, 5, 0)
  np.testing.assert_array_equal(games.cut, [[4], [2], [-1]])
  assert evaluate.progress(games) == evaluate.EvaluationProgress(3, 0, 0)
  playing = dataclasses.replace(games, played=jnp.array([0, 1, 1]), idle=jnp.full(3, 2000))
  assert evaluate.progress(playing).stuck == 1  # finished games do not count


class Wild:
  """In training the opposite of what it knows to be right."""

  def __call__(self, params, key, root):
    return away(params, key, root)

  def for_evaluation(self):
    return oracle


@pytest.mark.parametrize(
  ("acting", "protocol", "mean"), [("greedy", "own", 1.0), ("sampled", "own-sampled", -1.0)]
)
def test_an_agent_is_scored_greedily_or_as_in_training(tmp_path, acting, protocol, mean):
  config = builders.config(
    env__kind="catch", env__stack=1, evaluation__acting=acting, evaluation__episodes=4
  )
  score = scoring.Scoring(config, tmp_path, SEEING, Wild())
  assert (score._key(2**32 + 1, 0) == score._key(1, 0)).all()  # of runs that are as long, too
  row = score.evaluate({}, 0)
  assert (row["protocol"], row["mean"]) == (protocol, mean)


def test_stuck_episodes_in_words():
  row = dict(task="catch", env_steps=9, mean=0.0, episodes=8, protocol="own")
  assert scores.sentence(row).endswith("(protocol own).")
  assert scores.sentence(row | {"cut_off": 1, "stuck": 0}).endswith(
    " 1 of the episodes was cut off at the step limit."
  )
  assert scores.sentence(row | {"cut_off": 3, "stuck": 2}).endswith(
    " 3 of the episodes were cut off at the step limit, 2 of them stuck: no reward, no life lost "
    "in the last 2,000 steps."
  )
  now = evaluate.EvaluationProgress(over=5, steps=12345, stuck=2)
  assert scoring.in_words(now, 8, 27000) == (
    "5 of 8 episodes over, at step 12,345 of 27,000, 2 stuck (no reward, no life lost for 2,000 "
    "steps)"
  )
  assert scoring.in_words(evaluate.EvaluationProgress(9, 0, 0), 8, 0) == "8 of 8 episodes over"


@pytest.mark.parametrize(
  ("kind", "task", "name"),
  [
    ("envpool", "Pong-v5", "Pong-v5"),
    ("envpool", "CartPole-v1", "CartPole-v1"),
    ("catch", "Pong-v5", "catch"),
    ("gymnax", "Breakout-MinAtar", "Breakout-MinAtar"),
    ("gymnax", "Breakout-v5", "gymnax:Breakout-v5"),
    ("jaxtari", "pong", "jaxtari:pong"),
    ("gymnasium", "Pong-v5", "gymnasium"),
    ("gymnasium", "Breakout-v5", "gymnasium:Breakout-v5"),
    ("gymnasium", "CartPole-v1", "CartPole-v1"),
    ("custom", "my_games:snake", "my_games:snake"),
    ("custom", "Pong-v5", "custom"),
    ("maze", "Pong-v5", "maze"),  # a kind added to --env.kind, which does not read --env.task
    ("maze", "Breakout-v5", "maze:Breakout-v5"),
    ("maze", "large", "maze:large"),
  ],
)
def test_only_ataris_games_have_ataris_names_and_scores(kind, task, name):
  """Also in reports, which read the settings from config.json."""
  assert scores.task_name(kind, task) == name
  settings = configs.values(Config()) | {"env.kind": kind, "env.task": task}
  assert history.RunRecord(pathlib.Path(), {}, settings, [], []).task == name
  assert ("hns" in scores.summary([1.0], name)) == (kind == "envpool" and task == "Pong-v5")


def test_summary_by_hand():
  """1 .. 7 and 100: mean 128 / 8 = 16, median (4 + 5) / 2 = 4.5; a quarter of 8 is 2 at either end:
  (3 + 4 + 5 + 6) / 4 = 4.5.
  """
  row = scores.summary([5.0, 1.0, 100.0, 2.0, 7.0, 3.0, 6.0, 4.0], "Catch-v0")
  assert row["episodes"] == 8
  assert row["mean"] == 16.0
  assert row["median"] == 4.5
  assert row["iqm"] == 4.5
  assert "hns" not in row  # nobody has published a human's score
  assert row["returns"][:2] == [5.0, 1.0]


def test_the_iqm_of_an_uneven_number_of_games():
  """6 games: int(0.25 * 6) = 1 is cut at either end: (2 + 3 + 4 + 7) / 4 = 4. One game is its own
  mean.
  """
  assert scores.summary([0.0, 2.0, 3.0, 4.0, 7.0, 50.0], "none")["iqm"] == 4.0
  assert scores.summary([3.0], "none")["iqm"] == 3.0


def test_the_human_normalized_score_of_pong():
  """Random -20.7, human 14.6 (Mnih et al. 2015): a mean of 10 is (10 + 20.7) / (14.6 + 20.7) = 30.7
  / 35.3.
  """
  np.testing.assert_allclose(scores.summary([8.0, 12.0], "Pong-v5")["hns"], 30.7 / 35.3)
  np.testing.assert_allclose(scores.summary([-20.7], "Pong-v5")["hns"], 0.0, atol=1e-12)
  np.testing.assert_allclose(scores.summary([14.6], "Pong-v5")["hns"], 1.0)
