"""The data that flows between components, and the types of the functions that pass it on.

Letters: B environments, S stacked frames, A actions, k unroll steps, n bootstrap steps, N batch, C
rows of the ring, L = k + n + 1 steps of an example, E later frames asked for. Everything here is
per device.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
from jax import Array

Params = Any  # a pytree of arrays
Key = Array  # a typed PRNG key, used once
Metrics = dict[str, Array]  # name -> f32[2]: (sum, weight); what is reported is sum / weight

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
  """Makes `cls` a frozen dataclass that JAX walks into."""
  return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


@record
class TimeStep:
  """What every environment answers with at step t; `envs/base.py` states the convention."""

  frame: Array  # u8[B, *frame_shape]   what the agent sees at t
  reward: Array  # f32[B]   raw, of the transition t-1 -> t; 0 on a first step
  # f32[B]   0 where the return ends at t, else 1 (also where the episode is cut off by its time
  # limit)
  discount: Array
  first: Array  # bool[B]   t begins an episode; what was sent before it is ignored
  last: Array  # bool[B]   t ends an episode: terminated (discount 0) or truncated (discount 1)


@record
class Root:
  """What a search starts from."""

  hidden: Array  # [B, ...]
  policy_logits: Array  # f32[B, A]
  value: Array  # f32[B]   plain scalar, in units of reward


@record
class Decision:
  """What the agent did at step t, and why."""

  action: Array  # i32[B]
  policy: Array  # f32[B, A]   the improved policy, a target for the policy head
  value: Array  # f32[B]   the search's value of the root
  log_prob: Array  # f32[B]   log-probability of `action` under the behavior
  advantage: Array  # f32[B]   the search's Q of `action` less `value`
  depth: Array  # f32[B]   steps from the root to the deepest node; not kept in the replay


@record
class Example:
  """One example: the k-step unroll from step t and what its targets need. Batched as [N, ...] in a
  `Sample`.
  """

  frames: Array  # u8[S+E, *frame_shape]   steps t-S+1 .. t+E
  first: Array  # bool[S+E]   of the same steps
  action: Array  # i32[L-1]   a_t .. a_{t+L-2}
  reward: Array  # f32[L-1]   r_{t+1} .. r_{t+L-1}
  discount: Array  # f32[L-1]   d_{t+1} .. d_{t+L-1}
  last: Array  # bool[L]   t .. t+L-1
  policy: Array  # f32[k+1, A]   recorded, t .. t+k
  value: Array  # f32[L]   recorded, t .. t+L-1
  log_prob: Array  # f32[L-1]   t .. t+L-2
  advantage: Array  # f32   recorded, t
  age: Array  # i32   learner steps since step t was played


@record
class Sample:
  """A batch of examples."""

  example: Example  # [N, ...]
  index: Array  # i32[N]   where the examples are: row * B + environment
  weight: Array  # f32[N]   importance weights, at most 1


@record
class Targets:
  """What the unroll is trained towards."""

  reward: Array  # f32[N, k]   of the transitions into t+1 .. t+k
  value: Array  # f32[N, k+1]
  policy: Array  # f32[N, k+1, A]
  policy_mask: Array  # f32[N, k+1]   1 where step t+i is a state to act in; 0 after the end
  target_mask: (
    Array  # f32[N, k+1]   1 where a target exists (absorbing states have one); 0 after a truncation
  )


@record
class Context:
  """All that a loss term may look at. Predictions are those of the unroll."""

  example: Example  # [N, ...]; where frames are augmented, with a draw that is not the root's
  targets: Targets
  hidden: Array  # [N, k+1, ...]
  policy_logits: Array  # f32[N, k+1, A]
  value_logits: Array  # f32[N, k+1, bins]
  reward_logits: Array  # f32[N, k, bins]


@record
class Statistics:
  """Running sums over the batches that were learned from, older ones counting less; all f32[]."""

  weight: Array  # of batches
  # (return - value)^2 at the root: what the value head is wrong by, and what returns vary by
  errors: Array
  squares: Array  # (Q(a) - V)^2, of the recorded search
  products: Array  # (Q(a) - V)(return - V)

  @property
  def error(self) -> Array:
    """The standard deviation of returns around values, f32[]; 1 before anything was learned
    from.
    """
    return jnp.where(self.weight > 0, jnp.sqrt(self.errors / jnp.maximum(self.weight, 1e-6)), 1.0)

  @property
  def skill(self) -> Array:
    """The slope of (return - V) on (Q(a) - V), f32[]: 1 where Q is right, 0 where it is noise, and
    before there is any.
    """
    return self.products / jnp.maximum(self.squares, 1e-12)


@record
class LearnerState:
  """The same on all devices."""

  params: Params  # {'model': ..., one entry per loss term with parameters}
  target_params: Params  # of the model, some updates old
  opt_state: Any
  step: Array  # i32   gradient steps done
  statistics: Statistics

  @property
  def variables(self) -> Params:
    """What a search takes as its parameters: the model's, with `Statistics` under "statistics"."""
    return {**self.params["model"], "statistics": self.statistics}

  @property
  def target_variables(self) -> Params:
    """The same with the target network's parameters; statistics are today's."""
    return {**self.target_params, "statistics": self.statistics}


class Model(NamedTuple):
  """A MuZero model as pure functions over one batch axis N."""

  init: Callable[[Key], Params]
  encode: Callable[[Params, Array], Array]  # frames u8[N, S, *frame_shape] -> hidden [N, ...]
  predict: Callable[
    [Params, Array], tuple[Array, Array]
  ]  # hidden -> policy f32[N, A], value f32[N, bins] logits
  step: Callable[
    [Params, Array, Array], tuple[Array, Array]
  ]  # hidden, action i32[N] -> hidden, reward logits
  decode: Callable[[Array], Array]  # logits f32[..., bins] -> scalar f32[...]
  encode_scalar: Callable[[Array], Array]  # scalar f32[...] -> probabilities f32[..., bins]


class SearchFn(Protocol):
  """Thinks before acting: one decision for every root, independently."""

  def __call__(self, params: Params, key: Key, root: Root) -> Decision: ...


class Term(NamedTuple):
  """A loss term: its own parameters and its loss per example."""

  init: Callable[[Key], Params]  # {} where the term has none
  loss: Callable[[Params, Context], Array]  # all parameters -> f32[N]
