"""The adapter for gymnasium, on an environment whose every answer is known."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.envs.base import GameError

library = pytest.importorskip("gymnasium")

from muzero_jax.envs import gymnasium  # noqa: E402


class Counter(library.Env):
  """Shows how many steps were made; rewards are the actions; ends by itself at step 3 or 4."""

  def __init__(self, end=3, shape=(), dtype=np.float64, start=0):
    self.observation_space = library.spaces.Box(0, 255, shape or (1,), dtype)
    self.action_space = library.spaces.Discrete(5, start=start)
    self.end = end

  def seen(self):
    return np.full(self.observation_space.shape, self.steps, self.observation_space.dtype)

  def reset(self, *, seed=None, options=None):
    super().reset(seed=seed)
    self.steps = 0
    return self.seen(), {}

  def step(self, action):
    self.steps += 1
    return self.seen(), float(action), self.steps == self.end, False, {}


class Pictures(Counter):
  """Frames of 2x3 pixels in three colors, the last of which counts."""

  def __init__(self):
    super().__init__(shape=(2, 3, 3), dtype=np.uint8)

  def seen(self):
    return np.broadcast_to(np.array([0, 1, self.steps], np.uint8), (2, 3, 3))


for name, entry, options in (
  ("Ends-v0", Counter, {}),
  ("CutOff-v0", lambda: Counter(end=9), {"max_episode_steps": 2}),
  ("Both-v0", lambda: Counter(end=2), {"max_episode_steps": 2}),
  ("FromOne-v0", lambda: Counter(start=1), {}),
  ("Pictures-v0", Pictures, {}),
):
  library.register(f"tests/{name}", entry, **options)


def play(task, actions):
  """The time steps [T, 1] of one environment under the given actions."""
  environment = gymnasium.make(f"tests/{task}", 1)

  def step(state, action):
    state, time = environment.recv(state)
    return environment.send(state, action[None]), time

  state = environment.reset(jax.random.key(0))
  state, times = jax.jit(lambda state, x: jax.lax.scan(step, state, x))(state, jnp.asarray(actions))
  jax.block_until_ready(state)
  return jax.device_get(times)


@pytest.mark.parametrize(
  ("task", "frames", "rewards", "discounts", "last"),
  [
    ("Ends-v0", [0, 1, 2, 3, 0, 1], [0, 1, 2, 3, 0, 2], [1, 1, 1, 0, 1, 1], [0, 0, 0, 1, 0, 0]),
    ("CutOff-v0", [0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 4, 2], [1] * 6, [0, 0, 1, 0, 0, 1]),
    ("Both-v0", [0, 1, 2, 0, 1, 2], [0, 1, 2, 0, 4, 2], [1, 1, 0, 1, 1, 0], [0, 0, 1, 0, 0, 1]),
    ("FromOne-v0", [0, 1, 2, 3, 0, 1], [0, 2, 3, 4, 0, 3], [1, 1, 1, 0, 1, 1], [0, 0, 0, 1, 0, 0]),
  ],
)
def test_every_step_is_known(task, frames, rewards, discounts, last):
  """Actions 1 2 3 4 2 0: the reward of a transition is its action, and that before a reset is lost.

  A time limit leaves the discount 1; an end at the very step of the limit is an end.
  """
  times = play(task, [1, 2, 3, 4, 2, 0])
  np.testing.assert_array_equal(times.frame[:, 0, 0], np.float32(frames))
  np.testing.assert_array_equal(times.reward[:, 0], np.float32(rewards))
  np.testing.assert_array_equal(times.discount[:, 0], np.float32(discounts))
  np.testing.assert_array_equal(times.last[:, 0], np.array(last, bool))
  np.testing.assert_array_equal(times.first[:, 0], [True, *np.array(last[:-1], bool)])


def test_pictures_stay_bytes_with_colors_last():
  times = play("Pictures-v0", [0, 0, 0])
  assert times.frame.shape == (3, 1, 2, 3, 3) and times.frame.dtype == np.uint8
  np.testing.assert_array_equal(times.frame[2, 0, 1, 2], [0, 1, 2])


@pytest.mark.parametrize(
  ("task", "said"),
  [
    ("CartPol-v1", r"--env\.task=CartPol-v1: gymnasium cannot make it \(.*CartPole"),
    ("Pendulum-v1", "only environments with discrete actions and one observation array"),
    ("FrozenLake-v1", "this one has Discrete"),
  ],
)
def test_what_cannot_be_played_is_one_sentence(task, said):
  with pytest.raises(GameError, match=said) as caught:
    gymnasium.make(task, 1)
  assert "\n" not in str(caught.value)


def test_what_is_only_compiled_makes_one_environment(monkeypatch):
  """The shapes are those of all, so that a program is that of the run."""
  made, real = [], gymnasium._made
  monkeypatch.setattr(gymnasium, "_made", lambda task, n: made.append(n) or real(task, n))
  environment = gymnasium.make("CartPole-v1", 64, started=False)
  assert made == [1] and environment.spec.num_envs == 64


def test_without_gymnasium_a_sentence_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, "gymnasium", None)
  with pytest.raises(GameError, match=r"pip install 'muzero_jax\[gymnasium\]'"):
    gymnasium.make("CartPole-v1", 1)
