"""Bootstrap values for returns: recorded by the search that acted, predicted by the target network,
or found by a new search with it.
"""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp

from muzero_jax.networks.model import initial_inference
from muzero_jax.replay.stacks import stacks
from muzero_jax.targets.returns import horizon
from muzero_jax.types import Array, Example, Model, Params, SearchFn


class Bootstrap(Protocol):
  """Computes the values from which the returns of an example bootstrap."""

  def __call__(self, target_params: Params, example: Example) -> Array:
    """Values of all L steps of examples [N, ...], f32[N, L]."""
    ...


def recorded(target_params: Params, example: Example) -> Array:
  """A `Bootstrap`: the values that the search recorded when it acted."""
  del target_params
  return example.value


def predicted(model: Model, params: Params, frames: Array) -> Array:
  """The values that the value head predicts for stacks u8[N, S, *frame_shape], f32[N]."""
  return initial_inference(model, params, frames).value


@dataclasses.dataclass(frozen=True)
class Searched:
  """The values that a new search finds with the target network (EfficientZero, Ye et al. 2021,
  section 4.3), as MuZero Reanalyze finds policies.

  The random key of the search follows from the number of gradient steps.
  """

  search: SearchFn

  def __call__(self, model: Model, params: Params, frames: Array) -> Array:
    """The values of stacks u8[N, S, *frame_shape], f32[N]."""
    key = jax.random.fold_in(jax.random.key(0), params["step"])
    return self.search(params, key, initial_inference(model, params, frames)).value


@dataclasses.dataclass(frozen=True)
class TargetNetwork:
  """The target network's values.

  n-step returns bootstrap only n steps (`returns.horizon`) after each step of the unroll, or at the
  end of the episode if it comes first. Only these steps are evaluated; the others get value 0.
  """

  model: Model
  stack: int
  unroll: int
  n: int | Array
  every_step: bool  # evaluate all steps, as lambda returns need
  stale_after: int = 0  # see `returns.Returns`
  # model, target_params, stacks u8[N, S, *frame_shape] -> f32[N]; others are in `targets/q.py`
  estimate: Callable[[Model, Params, Array], Array] = predicted

  def __call__(self, target_params: Params, example: Example) -> Array:
    """See `Bootstrap`."""
    size, length = example.last.shape
    steps = jax.vmap(self._steps)(example.last, horizon(example.age, self.n, self.stale_after))
    frames = stacks(example, steps, self.stack)
    value = self.estimate(self.model, target_params, frames).reshape(steps.shape)
    return jnp.zeros((size, length)).at[jnp.arange(size)[:, None], steps].set(value)

  def _steps(self, last: Array, n: Array) -> Array:
    """The steps of one example to evaluate, i32[k+1], or i32[L] if all are."""
    length = last.shape[0]
    if self.every_step:
      return jnp.arange(length)
    steps = jnp.arange(length)

    def end(start: Array) -> Array:
      ends = jnp.where(last & (steps >= start), steps, length)
      return jnp.minimum(start + n, jnp.min(ends))

    return jax.vmap(end)(jnp.arange(self.unroll + 1))
