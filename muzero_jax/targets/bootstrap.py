"""What returns bootstrap from: a value for every step of an example's window."""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

from muzero_jax.networks.model import initial_inference
from muzero_jax.replay.frames import stacks
from muzero_jax.targets.returns import horizon
from muzero_jax.types import Array, Example, Model, Params


class Bootstrap(Protocol):
  """Values for the steps of examples."""

  def __call__(self, target_params: Params, example: Example) -> Array:
    """Examples [N, ...] -> f32[N, L]."""
    ...


def recorded(target_params: Params, example: Example) -> Array:
  """The search's values from when the steps were played."""
  del target_params
  return example.value


@dataclasses.dataclass(frozen=True)
class TargetNetwork:
  """The target network's values.

  With n-step returns only those steps are evaluated that some return ends in: n steps
  (`returns.horizon`) after each step of the unroll, or where the episode ends before; the rest is
  left at 0.
  """

  model: Model
  stack: int
  unroll: int
  n: int
  every_step: bool  # needed when the trace is below 1
  stale_after: int = 0  # as the returns have it

  def __call__(self, target_params: Params, example: Example) -> Array:
    """See `Bootstrap`."""
    size, length = example.last.shape
    steps = jax.vmap(self._steps)(example.last, horizon(example.age, self.n, self.stale_after))
    value = initial_inference(
      self.model, target_params, stacks(example, steps, self.stack)
    ).value.reshape(steps.shape)
    return jnp.zeros((size, length)).at[jnp.arange(size)[:, None], steps].set(value)

  def _steps(self, last: Array, n: Array) -> Array:
    """The steps of one window to evaluate: i32[k+1], or all L of them."""
    length = last.shape[0]
    if self.every_step:
      return jnp.arange(length)
    steps = jnp.arange(length)

    def end(start: Array) -> Array:
      ends = jnp.where(last & (steps >= start), steps, length)
      return jnp.minimum(start + n, jnp.min(ends))

    return jax.vmap(end)(jnp.arange(self.unroll + 1))
