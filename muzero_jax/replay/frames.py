"""The replay's ring buffer: steps are written to it, and examples are read from it by reference.

An example is a row and an environment. Its frames are stored once, and shared with all examples
that show them.

Rows are ticks, columns are environments. At head h, a step is written to row h % C, and the
decision that led to it to the row before. An example can be sampled once the L = k + n + 1 rows
from its root on are complete, and until the oldest frame of its root's stack is overwritten. Both
are recorded in `Priorities`, where the priority of an example that cannot be sampled is 0.
"""

import dataclasses
import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.layout import Layout, with_layout_constraint

from muzero_jax.replay.stacks import stack_at
from muzero_jax.types import Array, Decision, Example, TimeStep, record

TILE = 128  # values along the last axis of an array that a TPU stores together


@record
class Priorities:
  """The priority of each example: the only part of the replay that the learner changes."""

  priority: Array  # f32[C, B]   0 where no example can be sampled
  row_priority: Array  # f32[C]   priority summed over environments
  max_priority: Array  # f32[]   the highest priority so far, which new examples get


@record
class Replay:
  """The ring buffer's arrays, per device. P is the number of values in a frame."""

  # u8[C, B, P]   flat, because XLA pads short last axes on some devices; with `Ring.aligned`, P is
  # rounded up to whole tiles
  frame: Array
  first: Array  # bool[C, B]
  last: Array  # bool[C, B]
  reward: Array  # f32[C, B]   of the transition into the row
  discount: Array  # f32[C, B]   of the transition into the row
  action: Array  # i32[C, B]   chosen at the row, as are the following fields
  policy: Array  # f32[C, B, A]; with `Ring.aligned` f32[C, B * A]
  value: Array  # f32[C, B]
  log_prob: Array  # f32[C, B]
  advantage: Array  # f32[C, B]
  played: Array  # i32[C]   gradient steps done when the row was written
  priorities: Priorities
  head: Array  # i32[]   number of rows written so far


@dataclasses.dataclass(frozen=True)
class Ring:
  """The ring buffer's sizes, and the functions that write to it and read from it.

  Raises:
    ValueError: there are too few rows to hold a single example, or `later` exceeds the window.
  """

  rows: int  # C
  num_envs: int  # B
  num_actions: int  # A
  frame_shape: tuple[int, ...]
  frame_dtype: Any = np.uint8
  stack: int = 4  # S
  unroll: int = 5  # k
  window: int = 11  # L = k + n + 1
  later: int = 0  # E
  # For a TPU, where XLA would copy whole arrays before the learner reads from them: rounds P up to
  # a multiple of `TILE`, fixes the order of `Replay.frame` in memory, and stores policies flat.
  aligned: bool = False

  def __post_init__(self):
    if self.rows < self.smallest(self.stack, self.window):
      raise ValueError(
        f"a ring of {self.rows} rows cannot hold an example; it needs "
        f"{self.smallest(self.stack, self.window)}"
      )
    if self.later >= self.window:
      raise ValueError(
        f"{self.later} later frames are more than a window of {self.window} steps has"
      )

  @staticmethod
  def smallest(stack: int, window: int) -> int:
    """The smallest number of rows that hold one complete example."""
    return stack + window + 1

  @property
  def pixels(self) -> int:
    """The number of values in a frame."""
    return math.prod(self.frame_shape)

  @property
  def padding(self) -> int:
    """The number of values after each frame that are not used."""
    return -self.pixels % TILE if self.aligned else 0

  def init(self) -> Replay:
    """An empty replay."""
    rows = (self.rows, self.num_envs)

    def zeros(*shape, dtype=jnp.float32):
      return jnp.zeros(shape, dtype)

    return Replay(
      frame=zeros(*rows, self.pixels + self.padding, dtype=self.frame_dtype),
      first=zeros(*rows, dtype=bool),
      last=zeros(*rows, dtype=bool),
      reward=zeros(*rows),
      discount=zeros(*rows),
      action=zeros(*rows, dtype=jnp.int32),
      policy=self._row(zeros(*rows, self.num_actions)),
      value=zeros(*rows),
      log_prob=zeros(*rows),
      advantage=zeros(*rows),
      played=zeros(self.rows, dtype=jnp.int32),
      priorities=Priorities(zeros(*rows), zeros(self.rows), jnp.ones((), jnp.float32)),
      head=jnp.zeros((), jnp.int32),
    )

  def nbytes(self) -> int:
    """The memory of all arrays, in bytes."""
    arrays = jax.tree.leaves(jax.eval_shape(self.init))
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in arrays)

  def add(self, replay: Replay, decision: Decision, timestep: TimeStep, step: Array) -> Replay:
    """Writes the newest step, and the decision made at the step before.

    Args:
      replay: updated in place if it is donated.
      decision: made at the step before; meaningless, but harmless, for the very first row.
      timestep: the newest step.
      step: i32[], gradient steps done.
    """
    self._check(decision, timestep)
    head, rows = replay.head, self.rows
    row, before = head % rows, (head - 1) % rows
    last = replay.last.at[row].set(timestep.last)
    return Replay(
      frame=self._in_order(replay.frame.at[row].set(self._flat(timestep.frame))),
      first=replay.first.at[row].set(timestep.first),
      last=last,
      reward=replay.reward.at[row].set(timestep.reward),
      discount=replay.discount.at[row].set(timestep.discount),
      action=replay.action.at[before].set(decision.action),
      policy=replay.policy.at[before].set(self._row(decision.policy)),
      value=replay.value.at[before].set(decision.value),
      log_prob=replay.log_prob.at[before].set(decision.log_prob),
      advantage=replay.advantage.at[before].set(decision.advantage),
      played=replay.played.at[row].set(step),
      priorities=self._priorities(replay.priorities, head, last),
      head=head + 1,
    )

  def _flat(self, frame: Array) -> Array:
    """Frames [B, *frame_shape] as they are stored, [B, P]."""
    return jnp.pad(frame.reshape(self.num_envs, -1), ((0, 0), (0, self.padding)))

  def _row(self, policy: Array) -> Array:
    """Policies f32[..., B, A] as they are stored."""
    return policy.reshape(*policy.shape[:-2], -1) if self.aligned else policy

  def _policies(self, replay: Replay, rows: Array, env: Array) -> Array:
    """The policies of one environment, i32[], at rows i32[T], f32[T, A]."""
    if not self.aligned:
      return replay.policy[rows, env]
    columns = env * self.num_actions + jnp.arange(self.num_actions)
    return replay.policy[rows[:, None], columns[None]]

  def _in_order(self, frame: Array) -> Array:
    """`Replay.frame`, in memory in the order of its axes if `aligned`."""
    if not self.aligned:
      return frame
    return with_layout_constraint(frame, Layout(major_to_minor=(0, 1, 2)))

  def _check(self, decision: Decision, timestep: TimeStep) -> None:
    """Raises AssertionError, while tracing, if a shape or dtype differs from the ring's."""
    size, frame = self.num_envs, (self.num_envs, *self.frame_shape)
    name = "of the replay's frame, first, last, reward, discount"
    steps = [timestep.frame, timestep.first, timestep.last, timestep.reward, timestep.discount]
    chex.assert_shape(steps, [frame, *4 * [(size,)]], custom_message=name)
    chex.assert_type(steps[:3], [self.frame_dtype, bool, bool], custom_message=name)
    name = "of the replay's policy, action, value, log_prob, advantage"
    decisions = [decision.policy, decision.action]
    decisions += [decision.value, decision.log_prob, decision.advantage]
    policy = (size, self.num_actions)
    chex.assert_shape(decisions, [policy, *4 * [(size,)]], custom_message=name)
    chex.assert_type(decisions[:2], [jnp.float32, jnp.int32], custom_message=name)

  def _priorities(self, priorities: Priorities, head: Array, last: Array) -> Priorities:
    """Updates priorities at a write: one row of examples becomes complete, another one invalid."""
    # The decision written now completes the examples in row `ready`. No example has its root at the
    # last step of an episode, where the action has no effect.
    ready = (head - self.window) % self.rows
    fresh = jnp.where((head >= self.window) & ~last[ready], priorities.max_priority, 0.0)
    ended = (head + self.stack - 1) % self.rows  # its oldest frame is overwritten now
    return Priorities(
      priority=priorities.priority.at[ready].set(fresh).at[ended].set(0.0),
      row_priority=priorities.row_priority.at[ready].set(fresh.sum()).at[ended].set(0.0),
      max_priority=priorities.max_priority,
    )

  def cut(self, replay: Replay) -> Replay:
    """Marks the newest step of every environment as truncated, for when the run is resumed."""
    return dataclasses.replace(replay, last=replay.last.at[(replay.head - 1) % self.rows].set(True))

  def recent(self, replay: Replay) -> Array:
    """The newest stack of frames of every environment, u8[B, S, *frame_shape]."""
    rows = (replay.head - self.stack + jnp.arange(self.stack)) % self.rows
    # Row by row: of one gather of large rows, XLA makes a copy of all frames in pieces on a TPU.
    ring = self._in_order(replay.frame)
    newest = [jax.lax.dynamic_index_in_dim(ring, row, keepdims=False) for row in rows]
    frames, first = jnp.stack(newest, 1)[..., : self.pixels], replay.first[rows].swapaxes(0, 1)
    # Early in a run some of these rows are not written yet. `stack_at` does not use them, because
    # the first row that is written begins an episode.
    stacks = jax.vmap(lambda f, b: stack_at(f, b, self.stack - 1, self.stack))(frames, first)
    return stacks.reshape(self.num_envs, self.stack, *self.frame_shape)

  def last_frames(self, replay: Replay) -> Array:
    """The newest frame of every environment, u8[B, *frame_shape]."""
    frames = replay.frame[(replay.head - 1) % self.rows][..., : self.pixels]
    return frames.reshape(self.num_envs, *self.frame_shape)

  def completed(self, replay: Replay) -> tuple[Example, Array]:
    """The examples that the newest row completed.

    Returns:
      One example per environment, [B, ...]; and whether there are any yet, bool[].
    """
    row = (replay.head - 1 - self.window) % self.rows
    index = row * self.num_envs + jnp.arange(self.num_envs)
    return jax.vmap(lambda i: self.example(replay, i, replay.played[row]))(
      index
    ), replay.head > self.window

  def example(self, replay: Replay, index: Array, step: Array) -> Example:
    """Reads one example.

    Args:
      replay: the ring's arrays.
      index: i32[], row * B + environment of the root.
      step: i32[], gradient steps done, from which the example's age is computed.
    """
    row, env = index // self.num_envs, index % self.num_envs
    seen = (row - self.stack + 1 + jnp.arange(self.stack + self.later)) % self.rows
    steps = (row + jnp.arange(self.window)) % self.rows
    out, into = steps[:-1], steps[1:]
    return Example(
      frames=replay.frame[seen, env][:, : self.pixels].reshape(-1, *self.frame_shape),
      first=replay.first[seen, env],
      action=replay.action[out, env],
      reward=replay.reward[into, env],
      discount=replay.discount[into, env],
      last=replay.last[steps, env],
      policy=self._policies(replay, steps[: self.unroll + 1], env),
      value=replay.value[steps, env],
      log_prob=replay.log_prob[out, env],
      advantage=replay.advantage[row, env],
      age=step - replay.played[row],
    )
