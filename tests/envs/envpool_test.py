"""EnvPool behind the protocol, against EnvPool's own interfaces."""

import dataclasses

import chex
import envpool as library
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax import actor
from muzero_jax.device import parallel
from muzero_jax.envs import envpool
from muzero_jax.envs.base import GameError
from muzero_jax.replay.frames import Ring

KEY = jax.random.key(0)
SEED = 5
GAME = "Breakout-v5"
ATARI = envpool.Atari(noop_max=5, max_episode_steps=1000)


def own(task=GAME, num_envs=2, env_type="gymnasium", **options):
  """EnvPool's own environment with the settings of `ATARI`, written in its words."""
  words = dict(
    img_height=84,
    img_width=84,
    gray_scale=True,
    frame_skip=4,
    repeat_action_probability=0.0,
    full_action_space=False,
    noop_max=5,
    use_fire_reset=True,
    zero_discount_on_life_loss=False,
    max_episode_steps=1000,
    stack_num=1,
  )
  return library.make(
    task, env_type=env_type, num_envs=num_envs, num_threads=1, seed=SEED, **(words | options)
  )


def ours(task=GAME, num_envs=2, backend="ffi", **options):
  atari = dataclasses.replace(ATARI, **options)
  return envpool.make(task, num_envs, seed=SEED, backend=backend, num_threads=1, atari=atari)


def random_actions(steps, num_envs=2, num_actions=4):
  """Random ones; every third step FIRE, which in Breakout brings the next ball."""
  actions = np.random.RandomState(0).randint(0, num_actions, (steps, num_envs)).astype(np.int32)
  actions[::3] = 1
  return actions


def play(environment, actions, look=lambda time: time, state=None):
  """What every step shows, with actions i32[T, B]; from a reset on, or from `state`."""

  def step(state, action):
    state, time = environment.recv(state)
    return environment.send(state, action), look(time)

  program = jax.jit(lambda state, actions: jax.lax.scan(step, state, actions)[1])
  state = environment.reset(KEY) if state is None else state
  return jax.device_get(program(state, actions))


def same_but_frames(time):
  """A step whose frame is replaced by a checksum that tells any two frames of a game apart."""
  pixels = time.frame.reshape(time.frame.shape[0], -1).astype(jnp.uint32)
  weights = jnp.arange(1, pixels.shape[1] + 1, dtype=jnp.uint32) * jnp.uint32(2654435761)
  return dataclasses.replace(time, frame=jnp.sum(pixels * weights[None], 1, dtype=jnp.uint32))


@pytest.fixture(scope="module")
def long_game():
  """400 steps of Breakout, in which games are lost, by both settings of life loss, and the lives
  that EnvPool counts.
  """
  actions = random_actions(400)
  episodes = play(ours(), actions, same_but_frames)
  returns = play(ours(life_loss_ends_return=True), actions, same_but_frames)
  pool = own()
  lives = [pool.reset()[1]["lives"]]
  for action in actions[:-1]:
    lives.append(pool.step(action)[4]["lives"])
  return episodes, returns, np.array(lives)


def test_both_backends_play_the_same_game():
  """The custom call and the callback: identical streams for the same seed."""
  actions = random_actions(60)
  options = dict(max_episode_steps=25)
  chex.assert_trees_all_equal(
    play(ours(**options), actions), play(ours(backend="callback", **options), actions)
  )


def test_the_ring_stacks_like_envpool():
  """A frame stack never reaches across a reset; before the 4th frame the first one is repeated:
  single frames that the ring stacks equal EnvPool's own stack_num=4 bit for bit. Limit 25: steps 0
  .. 25, so first steps are 0, 26, 52, 78.
  """
  actions = random_actions(90)
  environment = ours(max_episode_steps=25)
  ring = Ring(rows=12, num_envs=2, num_actions=4, frame_shape=(84, 84), stack=4, unroll=1, window=3)
  decision = actor.new_actor(None, 2, 4).decision

  def step(carry, action):
    state, replay = carry
    state, time = environment.recv(state)
    replay = ring.add(replay, decision, time, jnp.int32(0))
    return (environment.send(state, action), replay), (ring.recent(replay), time.first)

  program = jax.jit(lambda state, actions: jax.lax.scan(step, (state, ring.init()), actions)[1])
  stacks, first = jax.device_get(program(environment.reset(KEY), actions))
  pool = own(stack_num=4, max_episode_steps=25)
  expected = [pool.reset()[0]]
  for action in actions[:-1]:
    expected.append(pool.step(action)[0])
  np.testing.assert_array_equal(stacks, np.array(expected))
  assert (first.sum(0) >= 4).all(), "no resets were crossed"
  assert (stacks[:, :, 0] != stacks[:, :, 3]).any(), "nothing moves"


@pytest.mark.parametrize("backend", ["ffi", "callback"])
def test_truncated_is_not_terminated(backend):
  """At a time limit the return goes on: discount 1 on the last step. EnvPool's own discount is 0
  there.
  """
  pool = own(env_type="dm", max_episode_steps=10)
  steps = [pool.reset()]
  for _ in range(24):
    steps.append(pool.step(np.zeros(2, np.int32)))
  ends = np.array([step.last() for step in steps])
  assert (np.array([step.discount for step in steps])[ends] == 0).all(), (
    "EnvPool has changed its mind"
  )
  times = play(ours(backend=backend, max_episode_steps=10), np.zeros((25, 2), np.int32))
  # 10 agent steps: first at 0, last at 10; the reset is step 11, so the next last is 21.
  np.testing.assert_array_equal(ends[:, 0].nonzero()[0], [10, 21])
  np.testing.assert_array_equal(times.last, ends)
  np.testing.assert_array_equal(times.discount, 1.0)


def raw(**fields):
  """EnvPool's fields of one step in the middle of a game, but for `fields`."""
  return {
    name: jnp.asarray([value])
    for name, value in (
      {
        "obs": np.zeros((1, 2, 2), np.uint8),
        "reward": np.float32(0),
        "discount": np.float32(1),
        "step_type": np.int32(1),
        "elapsed_step": np.int32(9),
        "done": False,
        "trunc": False,
      }
      | fields
    ).items()
  }


TERMINATED = "info:terminated"


@pytest.mark.parametrize(
  ("fields", "discount", "last"),
  [
    ({TERMINATED: 0}, 1, False),
    ({TERMINATED: 1, "done": True, "discount": np.float32(0)}, 0, True),
    ({TERMINATED: 0, "done": True, "trunc": True, "discount": np.float32(0)}, 1, True),
    (
      {TERMINATED: 1, "done": True, "trunc": True, "discount": np.float32(0)},
      0,
      True,
    ),  # over exactly at the limit: over
    ({TERMINATED: 0, "discount": np.float32(0)}, 0, False),  # a life
    ({"done": True, "discount": np.float32(0)}, 0, True),  # from here on: games other than Atari
    ({"done": True, "trunc": True, "discount": np.float32(0)}, 1, True),
    ({}, 1, False),
  ],
)
def test_the_discount_of_every_kind_of_step(fields, discount, last):
  time = envpool.time_step(raw(**fields))
  assert float(time.discount[0]) == discount
  assert bool(time.last[0]) == last
  assert not bool(time.first[0])


def test_a_first_step_has_reward_0_and_discount_1():
  """Whatever EnvPool leaves in those fields at a reset."""
  fields = {
    "step_type": np.int32(0),
    "elapsed_step": np.int32(0),
    "reward": np.float32(3),
    "discount": np.float32(0),
  }
  time = envpool.time_step(raw(**fields))
  assert bool(time.first[0]) and not bool(time.last[0])
  assert float(time.reward[0]) == 0.0
  assert float(time.discount[0]) == 1.0


def test_life_loss_ends_the_discount_but_not_the_episode(long_game):
  """A lost life sets the discount to 0 in mid-episode; score, length and frames go on as if it did
  not.
  """
  episodes, returns, lives = long_game
  lost = np.zeros(lives.shape, bool)
  lost[1:] = (lives[1:] < lives[:-1]) & ~returns.first[1:]
  over = lost & (lives == 0)
  assert lost.sum() > over.sum() > 0, "no life was lost, or no game"
  np.testing.assert_array_equal(returns.discount, 1.0 - lost)
  np.testing.assert_array_equal(episodes.discount, 1.0 - over)
  np.testing.assert_array_equal(episodes.last, over)
  for name in ("frame", "reward", "first", "last"):
    np.testing.assert_array_equal(getattr(returns, name), getattr(episodes, name))


def test_rewards_are_raw():
  """Ms. Pacman's pills score 10: unclipped, and the sum is the game's own score."""
  actions = random_actions(100, num_actions=9)
  times = play(ours("MsPacman-v5"), actions, same_but_frames)
  pool = own("MsPacman-v5")
  rewards = [np.zeros(2)]
  pool.reset()
  for action in actions[:-1]:
    rewards.append(pool.step(action)[1])
  np.testing.assert_array_equal(times.reward, np.array(rewards, np.float32))
  assert times.reward.max() >= 10.0


@pytest.mark.parametrize("backend", ["ffi", "callback"])
def test_pools_on_two_devices_equal_one_of_twice_the_size(backend):
  """Game i of device d is seeded with seed + d * B + i, and a device steps its own pool."""
  steps, actions = 40, random_actions(40, num_envs=4)
  options = dict(
    seed=SEED,
    backend=backend,
    num_threads=1,
    atari=dataclasses.replace(ATARI, max_episode_steps=15),
  )
  devices = parallel.mesh(jax.local_devices()[:2])
  pools = envpool.make(GAME, 2, num_pools=2, **options)

  def run(shared, local, count):
    state, actions = local

    def step(state, action):
      state, time = pools.recv(state)
      return pools.send(state, action), time

    state, times = jax.lax.scan(step, state, actions)
    return shared + count, (state, actions), times

  states = [pools.reset(KEY, device) for device in range(2)]
  halves = [jnp.asarray(actions[:, :2]), jnp.asarray(actions[:, 2:])]
  local = parallel.stack(list(zip(states, halves, strict=True)), devices)
  _, _, times = parallel.pmapped(run, devices)(jnp.int32(0), local, jnp.int32(0))
  together = play(envpool.make(GAME, 4, **options), actions)
  for device in range(2):
    half = jax.tree.map(lambda x: x[:, 2 * device : 2 * device + 2], together)
    chex.assert_trees_all_equal(jax.device_get(jax.tree.map(lambda x: x[device], times)), half)
  assert together.first.sum() >= 8 and steps == len(together.first)
  assert (together.frame[:, 0] != together.frame[:, 2]).any(), "all games are the same"


def test_actions_that_are_played_again_lead_to_the_same_place():
  """40 of 60 steps of games that end after 15: the program that goes on from there, with one thread
  or two, sees what one sees that made all 60.
  """
  options = dict(seed=SEED, atari=dataclasses.replace(ATARI, max_episode_steps=15))
  actions = random_actions(60, num_envs=4)
  whole = play(envpool.make(GAME, 4, num_threads=2, **options), actions, same_but_frames)
  again = envpool.make(GAME, 4, num_threads=1, **options)
  state = again.reset(KEY)
  again.replay(actions[None, :25].astype(np.uint8))
  again.replay(actions[None, 25:40].astype(np.uint8))
  rest = play(again, actions[40:], same_but_frames, state)
  chex.assert_trees_all_equal(rest, jax.tree.map(lambda x: x[40:], whole))
  assert whole.first[:40].any() and whole.first[40:].any()


def test_actions_are_played_again_in_the_pools_of_all_devices():
  """Two pools of two games show the last frames of one pool of four."""
  options = dict(seed=SEED, num_threads=1, atari=ATARI)
  actions = random_actions(6, num_envs=4)
  pools, one = envpool.make(GAME, 2, num_pools=2, **options), envpool.make(GAME, 4, **options)
  for device in range(2):
    pools.reset(KEY, device)
  one.reset(KEY)
  shown = pools.replay(np.stack([actions[:, :2], actions[:, 2:]]))
  assert shown.shape == (2, 2, 84, 84) and shown.std() > 0
  np.testing.assert_array_equal(shown.reshape(4, 84, 84), one.replay(actions[None])[0])


@pytest.mark.parametrize(
  ("shape", "dtype"), [((2,), np.float32), ((2,), np.int16), ((3,), np.int32), ((2, 1), np.int32)]
)
def test_wrong_actions_raise(shape, dtype):
  environment = envpool.make("Catch-v0", 2, backend="callback")
  with pytest.raises(ValueError, match=r"int32\[2\]"):
    environment.send(jnp.zeros(8, jnp.uint8), jnp.zeros(shape, dtype))


def test_actions_out_of_range_are_clipped():
  """Catch has 3 actions: 99 is 2 and -7 is 0. EnvPool itself would read out of bounds."""
  wrong = np.tile(np.array([[99, -7]], np.int32), (25, 1))
  options = dict(seed=SEED, backend="ffi", num_threads=1)
  right = play(envpool.make("Catch-v0", 2, **options), np.clip(wrong, 0, 2))
  chex.assert_trees_all_equal(play(envpool.make("Catch-v0", 2, **options), wrong), right)


@pytest.mark.parametrize(("task", "near"), [("Pong-v4", "Pong-v5"), ("Brekout-v5", "Breakout-v5")])
def test_unknown_task_says_what_was_meant(task, near):
  with pytest.raises(GameError, match=f"did you mean {near}"):
    envpool.make(task, 1)


@pytest.mark.parametrize("task", ["Pendulum-v1", "FrozenLake-v1"])
def test_continuous_actions_and_states_that_are_a_number_are_refused(task):
  with pytest.raises(GameError, match=f"{task}: only games with discrete actions and one obs"):
    envpool.make(task, 1)


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("size", [84, 96])
def test_sizes_and_colors(size, color):
  """Gray frames are [H, W], color ones [H, W, 3] with EnvPool's own [3, H, W] behind them."""
  environment = ours(frame_height=size, frame_width=size, color=color)
  shape = (size, size, 3) if color else (size, size)
  assert environment.spec.frame_shape == shape
  times = play(environment, random_actions(3))
  assert times.frame.shape == (3, 2, *shape) and times.frame.dtype == np.uint8
  pixels = own(img_height=size, img_width=size, gray_scale=not color).reset()[0]
  expected = np.transpose(pixels, (0, 2, 3, 1)) if color else pixels[:, 0]
  np.testing.assert_array_equal(times.frame[0], expected)


def test_height_comes_before_width():
  assert ours(frame_height=64, frame_width=96).spec.frame_shape == (64, 96)


def test_reset_starts_anew_in_the_middle_of_a_game():
  """Also with a step that was begun and never received; the games after it are whole: limit 10, so
  first at 0, 11, last at 10.
  """
  environment = ours(max_episode_steps=10)
  play(environment, random_actions(4))
  times = play(environment, random_actions(12), same_but_frames)
  for env in range(2):
    np.testing.assert_array_equal(np.flatnonzero(times.first[:, env]), [0, 11])
    np.testing.assert_array_equal(np.flatnonzero(times.last[:, env]), [10])


def test_programs_with_a_pool_in_them_are_not_cached_on_disk():
  """Persistent compilation caches must not hold programs with an EnvPool pointer in them."""
  jax.config.update("jax_enable_compilation_cache", True)
  envpool.make("Catch-v0", 1)
  assert not jax.config.jax_enable_compilation_cache


def test_a_task_whose_library_is_missing_is_one_sentence(monkeypatch):
  """As Procgen where Qt is not installed."""

  def missing(task):
    raise ImportError("it requires the Qt runtime.")

  monkeypatch.setattr(envpool.envpool, "make_spec", missing)
  envpool.is_atari.cache_clear()
  with pytest.raises(GameError) as caught:
    envpool.make("CoinrunEasy-v0", 1)
  assert str(caught.value) == (
    "--env.task=CoinrunEasy-v0: cannot be loaded (it requires the Qt runtime)."
  )


@pytest.mark.parametrize(
  ("task", "actions", "shape"),
  [
    ("CartPole-v1", 2, (4,)),
    ("Acrobot-v1", 3, (6,)),
    ("MountainCar-v0", 3, (2,)),
    ("LunarLander-v3", 4, (8,)),
    ("HighwayFast-v0", 5, (5, 5)),
    ("Blackjack-v1", 2, (3,)),
    ("Catch-v0", 3, (10, 5)),
  ],
)
def test_the_tasks_that_the_documents_name(task, actions, shape):
  """Games without an emulator; the first step of each."""
  environment = envpool.make(task, 2, seed=SEED, backend="callback", num_threads=1)
  assert environment.spec.num_actions == actions
  _, time = environment.recv(environment.reset(KEY))
  assert time.first.all() and not time.last.any()
  assert environment.spec.frame_shape == time.frame.shape[1:]
