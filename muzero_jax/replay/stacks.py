"""Stacks of frames: what the network sees at a step, made from frames that are stored once."""

import jax
import jax.numpy as jnp

from muzero_jax.types import Array, Example


def stacks(example: Example, steps: Array, stack: int) -> Array:
  """The stacks of frames that the network sees at some steps of examples [N, ...].

  Args:
    example: must hold at least as many later frames (E) as the largest step.
    steps: i32[T] or i32[N, T], counted from the root, which is 0.
    stack: S.

  Returns:
    [N * T, S, *frame_shape].
  """
  steps = jnp.broadcast_to(steps, (example.first.shape[0], steps.shape[-1]))

  def one(frames: Array, first: Array, steps: Array) -> Array:
    return jax.vmap(lambda step: stack_at(frames, first, step + stack - 1, stack))(steps)

  found = jax.vmap(one)(example.frames, example.first, steps)
  return found.reshape(-1, *found.shape[2:])


def stack_at(frames: Array, first: Array, position: Array | int, stack: int) -> Array:
  """The stack of the S frames up to `position` in one sequence, within one episode.

  Args:
    frames: [T, ...], consecutive steps.
    first: bool[T].
    position: index of the newest frame, at least S-1 (i32[] or int).
    stack: S.

  Returns:
    [S, ...], oldest first. If the episode has fewer than S frames so far, its first frame is
    repeated, as EnvPool does.
  """
  # Frames are selected one by one. XLA would fuse a single gather into the network's first layer,
  # and compute, on the CPU, an index for every pixel.
  shown, begun = [frames[position]], first[position]
  for back in range(1, stack):
    shown.append(jnp.where(begun, shown[-1], frames[position - back]))
    begun = begun | first[position - back]
  return jnp.stack(shown[::-1])
