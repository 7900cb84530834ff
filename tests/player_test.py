"""Acting outside of the loop: the same stacks and actions as in evaluation."""

import dataclasses

import envpool as envpools
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.config import ConfigError
from muzero_jax.envs import envpool
from muzero_jax.envs.base import Spec
from muzero_jax.evaluation.evaluator import Evaluator
from muzero_jax.player import Player
from muzero_jax.search.gumbel import Gumbel
from muzero_jax.search.horizons import TwoHorizons
from muzero_jax.search.none import NoSearch
from muzero_jax.search.random import Random
from muzero_jax.types import Model
from tests.fakes import DIGITS

ENVS, STACK = 2, 3
ATARI = envpool.Atari(frame_height=16, frame_width=16, max_episode_steps=12, noop_max=2)


def weighted(params, frames):
  """Every pixel of the stack [N, S, H, W] counts differently: another order is another number."""
  return jnp.sin(frames.reshape(frames.shape[0], -1).astype(jnp.float32) @ params)


SEES = Model(
  init=lambda key: jax.random.normal(key, (STACK * 16 * 16, 6)) / 100,
  encode=weighted,
  predict=lambda params, hidden: (3 * hidden, hidden[:, :1]),
  step=lambda params, hidden, action: (hidden, hidden[:, :1]),
  decode=lambda logits: logits[..., 0],
  encode_scalar=lambda scalar: scalar[..., None],
)


def test_actions_are_those_of_evaluation_on_the_same_games():
  """Pong, cut off every 12 steps: several episodes, frames [B, 1, H, W], sampled actions."""
  params, search = SEES.init(jax.random.key(5)), NoSearch(SEES, 0.9)
  environment = envpool.make("Pong-v5", ENVS, seed=4, num_threads=1, atari=ATARI)
  evaluator = Evaluator(environment, SEES, search, STACK)
  game = evaluator.start(jax.random.key(3))
  spec = dataclasses.replace(evaluator.environment.spec, num_envs=1)
  player = Player(SEES, search, params, spec, STACK)
  player._key = game.key  # the same draws
  options = ATARI.options() | {"num_threads": 1, "seed": 4}
  pool = envpools.make("Pong-v5", env_type="gymnasium", num_envs=ENVS, **options)
  (observation, _), first, over = pool.reset(), np.ones(ENVS, bool), np.zeros(ENVS, bool)
  step, actions = jax.jit(evaluator.step), []
  for _ in range(40):
    game, time, decision = step(params, game)
    np.testing.assert_array_equal(time.first, first)
    actions.append(player.act(observation, first))
    np.testing.assert_array_equal(actions[-1], decision.action)
    observation, _, terminated, truncated, _ = pool.step(actions[-1])
    first, over = over, terminated | truncated
  assert actions[0].dtype == np.int32 and len(np.unique(actions)) > 2
  jax.block_until_ready(game)


def greedy(frames_seen, params, key, root):
  """Notes what the model saw, and plays action 1."""
  del params, key
  frames_seen.append(np.asarray(root.value))
  decision = Random()(None, jax.random.key(0), root)
  return dataclasses.replace(decision, action=jnp.ones(root.value.shape, jnp.int32))


def test_an_episodes_first_frame_is_repeated():
  """One environment, its stack read as a number: 1 2 3 4 | 5 6 is 111 112 123 234 | 555 556."""
  seen = []
  with jax.disable_jit():
    spec = Spec(1, 2, (1,), np.uint8)
    player = Player(DIGITS, lambda *given: greedy(seen, *given), jnp.float32(1), spec, STACK)
    for digit in range(1, 7):
      first = digit in (1, 5)
      action = player.act(np.array([digit], np.uint8), first)
      assert action.shape == () and action == 1
  np.testing.assert_array_equal(np.ravel(seen), [111, 112, 123, 234, 555, 556])


def player(*shape, dtype=np.uint8):
  return Player(DIGITS, Random(), jnp.float32(1), Spec(1, 2, shape, dtype), STACK)


@pytest.mark.parametrize(
  ("observation", "said"),
  [
    (
      np.zeros((2, 5, 4), np.uint8),
      r"must be uint8\[4, 5\], .*, not uint8\[2, 5, 4\]",
    ),
    (np.zeros((4, 5), np.float32), r"must be uint8\[4, 5\], .*, not float32\[4, 5\]"),
  ],
)
def test_observations_unlike_those_of_training_are_refused(observation, said):
  with pytest.raises(ValueError, match=said):
    player(4, 5).act(observation, True)


def test_colors_and_numbers():
  """EnvPool's [B, 3, H, W] is [B, H, W, 3] here; gymnasium's float64 is float32."""
  picture = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
  frame, single = player(4, 5, 3)._frame(picture)
  assert not single and frame[1, 2, 3, 0] == picture[1, 0, 2, 3]
  frame, single = player(7, dtype=np.float32)._frame(np.zeros(7))
  assert single and frame.shape == (1, 7) and frame.dtype == np.float32


def test_environments_begin_with_first_observations():
  agent = player(1)
  with pytest.raises(ValueError, match="first=True"):
    agent.act(np.zeros((2, 1), np.uint8), [True, False])
  agent.act(np.zeros((2, 1), np.uint8), True)
  agent.act(np.zeros((2, 1), np.uint8), [True, False])
  with pytest.raises(ValueError, match="first=True"):
    agent.act(np.zeros((3, 1), np.uint8), False)


def test_the_tree_is_that_of_the_next_action_and_nothing_is_remembered():
  search = Gumbel(DIGITS, 0.5, 3)
  agent = Player(
    DIGITS,
    search,
    jnp.float32(1),
    Spec(1, 2, (1,), np.uint8),
    STACK,
    discount=0.5,
    names=("a", "b"),
  )
  agent.act(np.array([7], np.uint8), True)
  [tree] = agent.tree(np.array([[2]], np.uint8), False)
  assert tree.predicted[0] == 772 and tree.simulations == 3 and tree.name(1) == "b"
  alone = agent.tree(np.array([2], np.uint8), False)
  np.testing.assert_array_equal(alone.value, tree.value)
  assert agent.act(np.array([2], np.uint8), False) == tree.chosen
  assert agent.tree(np.array([3], np.uint8), False).predicted[0] == 723


def test_the_tree_of_a_search_around_a_search():
  search = TwoHorizons(Gumbel(DIGITS, 0.5, 3), DIGITS).for_evaluation()
  agent = Player(DIGITS, search, jnp.float32(1), Spec(1, 2, (1,), np.uint8), STACK)
  tree = agent.tree(np.array([7], np.uint8), True)
  assert tree.predicted[0] == 777 and tree.simulations == 3
  assert agent.act(np.array([7], np.uint8), True) == tree.chosen


@pytest.mark.parametrize("search", [Random(), TwoHorizons(NoSearch(DIGITS, 0.5), DIGITS)])
def test_a_search_without_a_tree_says_so(search):
  agent = Player(DIGITS, search, jnp.float32(1), Spec(1, 2, (1,), np.uint8), STACK)
  with pytest.raises(ConfigError, match="without a tree"):
    agent.tree(np.zeros(1, np.uint8), True)
