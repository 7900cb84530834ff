"""The data types that components exchange, and the function types that components implement.

Letters in shapes, here and in all other modules:

  B: environments
  S: stacked frames that the network sees
  A: actions
  k: unroll steps
  n: steps until a return bootstraps
  N: batch size; also any other batch axis of the model
  C: rows of the replay's ring buffer
  L: steps that an example holds, k + n + 1
  E: frames after the root that an example holds

Every count and shape is per device.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
from jax import Array

Params = Any  # a pytree of arrays
Key = Array  # a typed PRNG key, used once
# name -> f32[2]: (sum, weight); reported as sum / weight. `learner.EVIDENCE` are exceptions.
Metrics = dict[str, Array]

T = TypeVar("T")  # any type


@dataclass_transform(frozen_default=True)
def record(cls: type[T]) -> type[T]:
  """Class decorator: makes `cls` a frozen dataclass and registers it as a JAX pytree."""
  return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))


@record
class TimeStep:
  """What an environment returns at step t. `envs/base.py` defines the time convention."""

  frame: Array  # u8[B, *frame_shape]   the observation at t
  reward: Array  # f32[B]   raw, of the transition t-1 -> t; 0 on a first step
  # f32[B]   0 where the return ends at t, else 1; also 1 where the time limit truncates the episode
  discount: Array
  first: Array  # bool[B]   t begins an episode; the action sent before it was ignored
  last: Array  # bool[B]   t ends an episode: terminated (discount 0) or truncated (discount 1)


@record
class Root:
  """The input of a search: the model's hidden state and predictions for the current step."""

  hidden: Array  # [B, ...]
  policy_logits: Array  # f32[B, A]
  value: Array  # f32[B]   decoded to a scalar, in units of reward
  # i32[B, A]   1 for actions that are not to be searched; None: all are searched
  illegal: Array | None = None


@record
class Decision:
  """The output of a search: the action at step t, and what the replay records about it."""

  action: Array  # i32[B]
  policy: Array  # f32[B, A]   the improved policy, a target for the policy head
  value: Array  # f32[B]   the search's estimate of the root's value
  log_prob: Array  # f32[B]   log-probability of `action` under the behavior policy
  advantage: Array  # f32[B]   the search's Q of `action`, minus `value`
  depth: Array  # f32[B]   depth of the tree's deepest node, in steps; not stored in the replay


@record
class Example:
  """A training example: the k-step unroll from step t, and what its targets are computed from.

  Shapes are those of one example; a `Sample` holds a batch of them, [N, ...].
  """

  frames: Array  # u8[S+E, *frame_shape]   steps t-S+1 .. t+E
  first: Array  # bool[S+E]   for the same steps
  action: Array  # i32[L-1]   a_t .. a_{t+L-2}
  reward: Array  # f32[L-1]   r_{t+1} .. r_{t+L-1}
  discount: Array  # f32[L-1]   d_{t+1} .. d_{t+L-1}
  last: Array  # bool[L]   t .. t+L-1
  policy: Array  # f32[k+1, A]   improved policies recorded at t .. t+k
  value: Array  # f32[L]   search values recorded at t .. t+L-1
  log_prob: Array  # f32[L-1]   t .. t+L-2
  advantage: Array  # f32   recorded at t
  age: Array  # i32   gradient steps since step t was played


@record
class Sample:
  """A batch of examples drawn from the replay."""

  example: Example  # [N, ...]
  index: Array  # i32[N]   position in the replay: row * B + environment
  weight: Array  # f32[N]   importance weights, at most 1


@record
class Targets:
  """The training targets of an unroll of k steps."""

  reward: Array  # f32[N, k]   for the transitions into t+1 .. t+k
  value: Array  # f32[N, k+1]
  policy: Array  # f32[N, k+1, A]
  # f32[N, k+1]   1 where step t+i is a state to act in; 0 once the return has ended, and after a
  # truncation
  policy_mask: Array
  # f32[N, k+1]   1 where a target exists, as it does in absorbing states; 0 after a truncation
  target_mask: Array


@record
class Context:
  """The input of every loss term: a batch, its targets, and the predictions of the unroll."""

  # [N, ...]; if frames are augmented, with other random shifts than the frames encoded at the root
  example: Example
  targets: Targets
  hidden: Array  # [N, k+1, ...]
  policy_logits: Array  # f32[N, k+1, A]
  value_logits: Array  # f32[N, k+1, bins]
  reward_logits: Array  # f32[N, k, bins]
  step: Array | int = 0  # i32[]   gradient steps done


@record
class Statistics:
  """Exponential moving averages over the batches of all gradient steps so far; all f32[]."""

  weight: Array  # of 1 per batch: 0 before the first gradient step, then rises to 1
  # of (return - value)^2 at the root: the value head's error plus the variance of returns
  errors: Array
  squares: Array  # of (Q(a) - V)^2, with Q and V recorded by the search
  products: Array  # of (Q(a) - V)(return - V)

  @property
  def error(self) -> Array:
    """The standard deviation of (return - value), f32[]; 1 before the first gradient step."""
    return jnp.where(self.weight > 0, jnp.sqrt(self.errors / jnp.maximum(self.weight, 1e-6)), 1.0)

  @property
  def skill(self) -> Array:
    """The regression slope of (return - V) on (Q(a) - V), f32[].

    1 if Q is right, 0 if it is noise; 0 also before the first gradient step.
    """
    return self.products / jnp.maximum(self.squares, 1e-12)


@record
class LearnerState:
  """All that the learner updates. Replicated: identical on all devices."""

  params: Params  # {'model': ..., one entry per loss term with parameters}
  target_params: Params  # the target network: a copy of the model's parameters, some steps old
  opt_state: Any
  step: Array  # i32   gradient steps done
  statistics: Statistics
  skipped: Array  # i32   gradient steps that were rejected because they diverged (`Learner.update`)

  @property
  def variables(self) -> Params:
    """The `params` of a search: the model's parameters and, under "statistics", `Statistics`."""
    return {**self.params["model"], "statistics": self.statistics}

  @property
  def target_variables(self) -> Params:
    """`variables` with the target network's parameters, those of the online network under
    "online", and the gradient steps done under "step".
    """
    others = {"online": self.params["model"], "statistics": self.statistics, "step": self.step}
    return {**self.target_params, **others}


def applied(function: Callable[[Array], Array], x: Array) -> Array:
  """The default of `Model.mapped`: all at once."""
  return function(x)


def unchanged(x: T) -> T:
  """The default of `Model.cast` and `Model.core`."""
  return x


class QHead(NamedTuple):
  """Q of every action from one hidden state: the part of a `Model` that has it."""

  logits: Callable[[Params, Array], Array]  # the model's parameters, hidden -> f32[N, A, outputs]
  decode: Callable[[Array], Array]  # f32[..., outputs] -> Q f32[...], in units of return
  loss: Callable[[Array, Array], Array]  # f32[..., outputs], targets of Q f32[...] -> f32[...]


class JumpModel(NamedTuple):
  """A dynamics model of macro actions, each of which stands for several steps: the part of a
  `Model` that has it. Macro actions are weights f32[N, macros], one-hot except in gradients.
  """

  steps: int  # j, agent steps of a jump
  macros: int  # number of macro actions
  # actions i32[N, j] -> logits f32[N, macros] of the macro action that they are
  code: Callable[[Params, Array], Array]
  # hidden, macro action -> hidden j steps later, logits f32[N, bins] of the discounted rewards of
  # these steps
  step: Callable[[Params, Array, Array], tuple[Array, Array]]
  prior: Callable[[Params, Array], Array]  # hidden -> logits f32[N, macros] of what self-play does
  # hidden, goal [N, ...] -> logits f32[N, A] of the action to take on the way to that hidden state
  reach: Callable[[Params, Array, Array], Array]


class Model(NamedTuple):
  """A MuZero model as pure functions over one batch axis N."""

  init: Callable[[Key], Params]
  encode: Callable[[Params, Array], Array]  # frames u8[N, S, *frame_shape] -> hidden [N, ...]
  # hidden -> logits of the policy, f32[N, A], and of the value, f32[N, bins]
  predict: Callable[[Params, Array], tuple[Array, Array]]
  # hidden, action i32[N] -> next hidden, reward logits f32[N, bins]
  step: Callable[[Params, Array, Array], tuple[Array, Array]]
  decode: Callable[[Array], Array]  # logits f32[..., bins] -> scalar f32[...]
  encode_scalar: Callable[[Array], Array]  # scalar f32[...] -> probabilities f32[..., bins]
  # Applies a function that maps [N, ...] to [N, ...] independently, all at once or in chunks.
  mapped: Callable[[Callable[[Array], Array], Array], Array] = applied
  # Casts the parameters of `step` and `predict` to the dtype in which layers use them. Results stay
  # the same; done once, it saves the casts in every call.
  cast: Callable[[Params], Params] = unchanged
  # From here on: heads that single ideas add; None without them.
  # hidden -> logits f32[N, bins] of a value of another discount; see `networks/horizon.py`
  second: Callable[[Params, Array], Array] | None = None
  # hidden -> log of the expected squared error of the value, f32[N]; see `networks/uncertainty.py`
  # and `networks/ensemble.py`
  log_variance: Callable[[Params, Array], Array] | None = None
  # hidden -> logits of several value heads, f32[N, members, bins], and what is added to each value,
  # f32[N, members]; see `networks/ensemble.py`
  ensemble: Callable[[Params, Array], tuple[Array, Array]] | None = None
  q: QHead | None = None  # see `networks/q.py`
  # hidden states [N, ...] -> the part of them that an encoder could find from frames, without what
  # depends on the path from the root (the LSTM's state of a value prefix)
  core: Callable[[Array], Array] = unchanged
  # frames [N, *frame_shape] -> how novel they are, f32[N]; see `networks/novelty.py`
  novelty: Callable[[Params, Array], Array] | None = None
  # hidden -> logits f32[N, bins] of the value prefix; see `networks/prefix.py`
  prefix: Callable[[Params, Array], Array] | None = None
  jump: JumpModel | None = None  # see `networks/jump.py`


class SearchFn(Protocol):
  """The type of a search: one decision for every root, each independent of the others."""

  def __call__(self, params: Params, key: Key, root: Root) -> Decision: ...


class Term(NamedTuple):
  """A loss term: a function that initializes its own parameters, and its loss per example."""

  init: Callable[[Key], Params]  # returns {} if the term has no parameters
  loss: Callable[[Params, Context], Array]  # parameters of the model and of all terms -> f32[N]
