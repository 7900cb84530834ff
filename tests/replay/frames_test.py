"""The ring of frames against a plain-Python history that forgets nothing."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.replay.frames import Ring
from muzero_jax.replay.stacks import stack_at
from tests import builders

B, A, S, K, N = 2, 3, 3, 1, 2
L = K + N + 1
LATER = 2
C = 13
TICKS = 3 * C + 5
RING = Ring(
  rows=C, num_envs=B, num_actions=A, frame_shape=(2, 1), stack=S, unroll=K, window=L, later=LATER
)


def episodes(steps, seed):
  """first, last: bool[T, B] of games of 2 .. 7 steps, each of which begins with a step of its
  own.
  """
  random = np.random.RandomState(seed)
  first = np.zeros((steps + 10, B), bool)
  for env in range(B):
    t = 0
    while t < steps + 10:
      first[t, env] = True
      t += random.randint(2, 8)
  last = np.roll(first, -1, 0)
  return first[:steps], last[:steps]


def number(t, env):
  """A number that says where it comes from."""
  return 2 * t + env


@dataclasses.dataclass
class History:
  """Every step ever, t-th row by t-th row: what went into the ring, and what the frames were."""

  first: np.ndarray
  last: np.ndarray

  def time(self, t):
    each = np.array([number(t, env) for env in range(B)])
    return builders.time_step(
      B,
      frame=jnp.asarray(np.stack([each, 255 - each], 1)[..., None], jnp.uint8),
      reward=1000 + each,
      discount=2000 + each,
      first=self.first[t],
      last=self.last[t],
    )

  def decision(self, t):
    each = np.array([number(t, env) for env in range(B)])
    return builders.decision(
      B,
      A,
      action=3000 + each,
      policy=4000 + 10 * each[:, None] + np.arange(A),
      value=5000 + each,
      log_prob=6000 + each,
      advantage=7000 + each,
    )

  def stack(self, t, env):
    """S frames up to step t, by walking back from it; where the episode starts, its first frame
    again.
    """
    frames, s = [], t
    for _ in range(S):
      frames.append([[number(s, env)], [255 - number(s, env)]])
      s = s if self.first[s, env] else s - 1
    return np.array(frames[::-1], np.uint8)

  def roots(self, written):
    """{(t, env)} of all examples after `written` rows: complete, not overwritten, and not starting
    at an episode's end.
    """
    newest_decision = written - 2
    oldest_row = written - C
    return {
      (t, env)
      for t in range(written)
      for env in range(B)
      if t + L - 1 <= newest_decision and t - S + 1 >= oldest_row and not self.last[t, env]
    }


@dataclasses.dataclass
class Recording:
  """The ring after every tick, and the history."""

  history: History
  replays: list


@pytest.fixture(scope="module")
def recording():
  history = History(*episodes(TICKS, seed=1))
  add, replay, replays = jax.jit(RING.add), RING.init(), []
  nothing = jax.tree.map(lambda x: x * 0 - 1, history.decision(0))
  for t in range(TICKS):
    decision = history.decision(t - 1) if t else nothing
    replay = add(replay, decision, history.time(t), jnp.int32(7 * t))
    replays.append(replay)
  return Recording(history, replays)


@pytest.fixture(scope="module")
def every_example():
  """All C * B examples of a ring, valid or not."""
  return jax.jit(
    lambda replay, step: jax.vmap(lambda i: RING.example(replay, i, step))(jnp.arange(C * B))
  )


def test_what_is_written_is_what_an_example_shows(recording, every_example):
  """One convention about time: a_t of an example leaves t, its r_{t+1}, d_{t+1} and frame enter
  step t+1. Several times round.
  """
  history, seen = recording.history, 0
  for t_now, replay in enumerate(recording.replays):
    examples = jax.device_get(every_example(replay, jnp.int32(7 * t_now)))
    for t, env in history.roots(t_now + 1):
      x = jax.tree.map(lambda leaf: leaf[t % C * B + env], examples)
      window = [number(t + i, env) for i in range(L)]
      np.testing.assert_array_equal(x.action, [3000 + w for w in window[:-1]])
      np.testing.assert_array_equal(x.reward, [1000 + w for w in window[1:]])
      np.testing.assert_array_equal(x.discount, [2000 + w for w in window[1:]])
      np.testing.assert_array_equal(x.last, history.last[t : t + L, env])
      np.testing.assert_array_equal(
        x.policy, [[4000 + 10 * w + a for a in range(A)] for w in window[: K + 1]]
      )
      np.testing.assert_array_equal(x.value, [5000 + w for w in window])
      np.testing.assert_array_equal(x.log_prob, [6000 + w for w in window[:-1]])
      assert x.advantage == 7000 + window[0]
      assert x.age == 7 * (t_now - t)
      for later in range(LATER + 1):
        if later == 0 or not history.last[t : t + later, env].any():
          stack = (
            stack_at(jnp.asarray(x.frames), jnp.asarray(x.first), S - 1 + later, S)
            if seen % 10 == 0
            else None
          )
          expected = history.stack(t + later, env)
          # The stack in plain Python, from what the example holds alone; for some examples also by
          # `stack_at`.
          position, rows = S - 1 + later, []
          for _ in range(S):
            rows.append(x.frames[position])
            position = position if x.first[position] or position == 0 else position - 1
          np.testing.assert_array_equal(np.array(rows[::-1]), expected)
          if stack is not None:
            np.testing.assert_array_equal(stack, expected)
      seen += 1
  assert seen > 300


def test_shapes_and_dtypes_of_an_example(recording, every_example):
  """Frames stay u8."""
  x = every_example(recording.replays[-1], jnp.int32(0))
  assert x.frames.shape == (C * B, S + LATER, 2, 1) and x.frames.dtype == jnp.uint8
  assert x.first.shape == (C * B, S + LATER) and x.first.dtype == jnp.bool_
  assert x.action.shape == (C * B, L - 1) and x.action.dtype == jnp.int32
  assert x.policy.shape == (C * B, K + 1, A)
  assert x.value.shape == x.last.shape == (C * B, L)


def test_an_index_whose_window_or_stack_crosses_the_write_head_has_no_mass(recording):
  """Ring wrap: exactly the complete examples whose frames are all there can be sampled, after every
  single tick.
  """
  for t_now, replay in enumerate(recording.replays):
    expected = np.zeros((C, B), np.float32)
    for t, env in recording.history.roots(t_now + 1):
      expected[t % C, env] = 1.0
    np.testing.assert_array_equal(
      replay.priorities.priority, expected, err_msg=f"after row {t_now}"
    )
    np.testing.assert_array_equal(replay.priorities.row_priority, expected.sum(1))
    assert float(replay.priorities.max_priority) == 1.0


def test_last_steps_are_never_roots(recording):
  """The pair (last, first) is no transition: nothing starts at an episode's end."""
  for replay in recording.replays:
    priority, last = np.asarray(replay.priorities.priority), np.asarray(replay.last)
    assert (priority[last] == 0).all()
  assert (priority[~last] > 0).any()


def test_recent_is_the_stack_of_the_newest_step(recording):
  """Acting stacks as learning does, from the very first tick on."""
  recent = jax.jit(RING.recent)
  for t_now, replay in enumerate(recording.replays):
    expected = np.stack([recording.history.stack(t_now, env) for env in range(B)])
    np.testing.assert_array_equal(recent(replay), expected)


def test_what_the_newest_row_has_completed(recording):
  """L + 1 rows after row t the example that starts there is complete, for every game: 4 steps, and
  the decision of the last."""
  completed = jax.jit(RING.completed)
  for t_now, replay in enumerate(recording.replays):
    examples, some = jax.device_get(completed(replay))
    assert some == (t_now >= L)
    for env in range(B if some else 0):
      window = [number(t_now - L + i, env) for i in range(L)]
      np.testing.assert_array_equal(examples.action[env], [3000 + w for w in window[:-1]])
      np.testing.assert_array_equal(examples.reward[env], [1000 + w for w in window[1:]])
      np.testing.assert_array_equal(examples.value[env], [5000 + w for w in window])
      np.testing.assert_array_equal(
        examples.last[env], recording.history.last[t_now - L : t_now, env]
      )
      assert examples.advantage[env] == 7000 + window[0]


def test_cut_ends_the_newest_episodes_as_truncated(every_example):
  """When environments start anew: last, but the discount stays; no example starts there, those
  before it see the end.
  """
  length, cut_at = 12, 6
  first = np.zeros((length, B), bool)
  first[[0, cut_at + 1]] = True
  history = History(first, np.zeros((length, B), bool))
  add, replay = jax.jit(RING.add), RING.init()
  for t in range(length):
    replay = add(replay, history.decision(t - 1), history.time(t), jnp.int32(0))
    if t == cut_at:
      before = replay
      replay = RING.cut(replay)
      np.testing.assert_array_equal(np.asarray(replay.last)[:, 0].nonzero()[0], [cut_at])
      changed = dataclasses.replace(replay, last=before.last)
      jax.tree.map(np.testing.assert_array_equal, changed, before)
  history.last[cut_at] = True
  expected = np.zeros((C, B), np.float32)
  for t, env in history.roots(length):
    expected[t, env] = 1.0
  assert expected[cut_at].sum() == 0 and expected[cut_at - 1].sum() == B
  np.testing.assert_array_equal(replay.priorities.priority, expected)
  examples = jax.device_get(every_example(replay, jnp.int32(0)))
  # From step 5: 5 goes on, 6 ends, the discount into 6 is that which was written.
  np.testing.assert_array_equal(examples.last[5 * B], [False, True, False, False])
  assert examples.discount[5 * B][0] == 2000 + number(6, 0)


def test_a_row_costs_little_more_than_a_frame():
  """Every frame is stored once: at 84 x 84 with 18 actions a step costs at most 1.05 frames
  (scalars and policy included).
  """
  ring = Ring(rows=1000, num_envs=8, num_actions=18, frame_shape=(84, 84))
  assert 84 * 84 <= ring.nbytes() / (1000 * 8) <= 1.05 * 84 * 84


def test_nbytes_is_what_the_arrays_take():
  assert RING.nbytes() == sum(x.nbytes for x in jax.tree.leaves(RING.init()))


def test_a_ring_too_small_for_an_example_is_refused():
  """3 stacked frames, windows of 4 steps and the row being written: 8 rows; with 8, something can
  be sampled at all times.
  """
  sizes = dict(num_envs=B, num_actions=A, frame_shape=(2, 1), stack=S, unroll=K, window=L)
  with pytest.raises(ValueError, match="8"):
    Ring(rows=7, **sizes)
  ring = Ring(rows=8, **sizes)
  history = History(np.zeros((30, B), bool), np.zeros((30, B), bool))
  add, replay = jax.jit(ring.add), ring.init()
  for t in range(30):
    replay = add(replay, history.decision(t - 1), history.time(t), jnp.int32(0))
    assert (float(replay.priorities.row_priority.sum()) > 0) == (t >= L), (
      "the first example is complete after L + 1 rows"
    )


def test_more_later_frames_than_steps_are_refused():
  with pytest.raises(ValueError, match="later"):
    dataclasses.replace(RING, later=L)


def test_the_replay_is_updated_in_place():
  """Donated, a loop that writes and reads needs far less temporary memory than the replay has, and
  returns it where it was.
  """
  ring = Ring(
    rows=512, num_envs=8, num_actions=4, frame_shape=(84, 84), stack=4, unroll=2, window=6
  )

  def tick(replay, key):
    frame = jax.random.bits(key, (8, 84, 84), jnp.uint8)
    time = builders.time_step(8, frame=frame)
    replay = ring.add(replay, builders.decision(8, 4), time, jnp.int32(0))
    index = jax.random.randint(key, (4,), 0, 512 * 8)
    example = jax.vmap(lambda i: ring.example(replay, i, jnp.int32(0)))(index)
    return replay, example.frames.astype(jnp.int32).sum() + ring.recent(replay).astype(
      jnp.int32
    ).sum()

  program = jax.jit(lambda replay, keys: jax.lax.scan(tick, replay, keys), donate_argnums=0)
  keys = jax.random.split(jax.random.key(0), 16)
  memory = program.lower(jax.eval_shape(ring.init), keys).compile().memory_analysis()
  assert ring.nbytes() > 28e6  # 512 * 8 * 7056
  assert memory.temp_size_in_bytes < ring.nbytes() / 10
  assert memory.alias_size_in_bytes >= 0.99 * ring.nbytes()


def test_aligned_frames_are_the_same_frames(recording):
  """Padded to whole tiles in memory, and nowhere else: examples and stacks are those without."""
  ring = dataclasses.replace(RING, aligned=True)
  assert (RING.padding, ring.padding) == (0, 126)
  assert dataclasses.replace(ring, frame_shape=(16, 16)).padding == 0
  add, replay = jax.jit(ring.add), ring.init()
  nothing = jax.tree.map(lambda x: x * 0 - 1, recording.history.decision(0))
  for t in range(C + 3):
    decision = recording.history.decision(t - 1) if t else nothing
    replay = add(replay, decision, recording.history.time(t), jnp.int32(7 * t))
  plain = recording.replays[C + 2]
  assert replay.frame.shape == (C, B, 128)
  np.testing.assert_array_equal(replay.frame[..., :2], plain.frame)
  np.testing.assert_array_equal(jax.jit(ring.recent)(replay), jax.jit(RING.recent)(plain))
  for row in range(C):
    example, expected = (
      jax.device_get(some.example(data, jnp.int32(row * B), jnp.int32(0)))
      for some, data in ((ring, replay), (RING, plain))
    )
    for name in ("frames", "first", "action", "policy"):
      np.testing.assert_array_equal(getattr(example, name), getattr(expected, name))
