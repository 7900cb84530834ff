"""Stubs for benchmarks: each one replaces one part of a run, so that the cost of the rest is seen.

`SearchWithoutTree` replaces the tree of the search, `free_model` and `blind_model` the network,
`FixedSampler` the replay, `SamplingOnly` the learner, and `FreeEnvironment` the environment.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from muzero_jax.device import ordering
from muzero_jax.envs.base import Spec
from muzero_jax.learner import Learner
from muzero_jax.replay.frames import Priorities, Replay, Ring
from muzero_jax.search.base import RecurrentFn, Search, log_prob
from muzero_jax.search.gumbel import Gumbel
from muzero_jax.search.puct import Puct
from muzero_jax.types import (
  Array,
  Decision,
  Key,
  LearnerState,
  Metrics,
  Model,
  Params,
  Root,
  Sample,
  TimeStep,
  applied,
  record,
)


@dataclasses.dataclass(frozen=True)
class SearchWithoutTree:
  """Does the network's work of a search without its tree: the same number of model steps per root.

  Each model step continues from the hidden state of the one before.

  Args:
    model: the network.
    discount: per agent step.
    num_simulations: model steps per root.
    unroll: whether the program has a copy of the model for each step, in place of a loop.
  """

  model: Model
  discount: float
  num_simulations: int
  unroll: bool = False

  @property
  def simulations(self) -> int:
    return self.num_simulations

  def for_evaluation(self) -> "SearchWithoutTree":
    return self

  def for_reanalysis(self) -> "SearchWithoutTree":
    return self

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """See `search.base.Search`. The decision is meaningless, but depends on all model steps."""
    model = RecurrentFn(self.model, self.discount)
    size, num_actions = root.policy_logits.shape

    def step(
      carry: tuple[Any, Array, Array], number: Array
    ) -> tuple[tuple[Any, Array, Array], None]:
      node, logits, value = carry
      output, node = model(
        params, key, (jnp.arange(size, dtype=jnp.int32) + number) % num_actions, node
      )
      return (
        node,
        logits + output.prior_logits,
        value + output.reward + output.discount * output.value,
      ), None

    start = (root.hidden, jnp.zeros_like(root.value)), root.policy_logits, root.value
    numbers = jnp.arange(self.num_simulations, dtype=jnp.int32)
    (_, logits, value), _ = jax.lax.scan(step, start, numbers, unroll=self.unroll)
    # The policy depends on the values too. Otherwise the compiler would not compute them where the
    # policy is all that is used.
    policy = jax.nn.softmax(logits + value[:, None])
    action = jnp.argmax(policy, -1).astype(jnp.int32)
    zeros = jnp.zeros_like(value)
    return Decision(action, policy, value, log_prob(policy, action), zeros, zeros)


def replaced(search: Any, replace: Callable[[Any], Search]) -> Search:
  """A search with `replace(tree search)` in place of each search with a tree that it consists of.

  Args:
    search: a search, or searches around others, such as `search.base.SearchWrapper`.
    replace: is called with each `Gumbel` or `Puct`.
  """
  if isinstance(search, Gumbel | Puct):
    return replace(search)
  parts = {field.name: getattr(search, field.name) for field in dataclasses.fields(search)}
  inner = {name: x for name, x in parts.items() if hasattr(x, "for_reanalysis")}
  changed = {name: replaced(x, replace) for name, x in inner.items()}
  return dataclasses.replace(search, **changed) if changed else search


def trees(search: Any) -> list[Any]:
  """Each `Gumbel` or `Puct` that a search consists of; [] where it has no tree."""
  found = []

  def found_one(tree: Any) -> Search:
    found.append(tree)
    return tree

  replaced(search, found_one)
  return found


def without_tree(search: Any, unroll: bool = False) -> Search:
  """The search with a `SearchWithoutTree` in place of each tree."""
  return replaced(
    search, lambda x: SearchWithoutTree(x.model, x.discount, x.num_simulations, unroll)
  )


def without_network(search: Any) -> Search:
  """The search with a `free_model` in each tree. Models that are used outside of trees remain."""
  return replaced(search, lambda x: dataclasses.replace(x, model=free_model(x.model)))


def free_model(model: Model) -> Model:
  """Replaces the dynamics and prediction networks by functions of negligible cost.

  Hidden states keep their size, and predictions are taken from their elements. Hidden states differ
  from node to node, so that the trees are about as deep as those of the real model.
  """

  def predict(params: Params, hidden: Array) -> tuple[Array, Array]:
    num_actions = jax.eval_shape(model.predict, params, hidden)[0].shape[-1]
    flat = jnp.resize(
      hidden.reshape(hidden.shape[0], -1)[:, : num_actions + 1].astype(jnp.float32),
      (hidden.shape[0], num_actions + 1),
    )
    return flat[:, :-1], flat[:, -1:]

  def step(params: Params, hidden: Array, action: Array) -> tuple[Array, Array]:
    move = (0.1 * action.astype(hidden.dtype)).reshape(-1, *[1] * (hidden.ndim - 1))
    hidden = jnp.abs(hidden - move)
    return hidden, hidden.reshape(hidden.shape[0], -1)[:, :1].astype(jnp.float32)

  return model._replace(predict=predict, step=step, decode=lambda logits: logits[..., 0])


def blind_model(model: Model, num_actions: int) -> Model:
  """Replaces all networks by zeros that depend on the frames, which have to be there for it."""

  def encode(params: Params, frames: Array) -> Array:
    return jnp.zeros((frames.shape[0], 1)) + forced(frames)

  def predict(params: Params, hidden: Array) -> tuple[Array, Array]:
    return jnp.tile(hidden, (1, num_actions)), hidden

  def step(params: Params, hidden: Array, action: Array) -> tuple[Array, Array]:
    return hidden, hidden

  plain = model._replace(decode=lambda logits: logits[..., 0], mapped=applied)
  return plain._replace(encode=encode, predict=predict, step=step)


def forced(tree: Any) -> Array:
  """A zero that depends on every array of the pytree, so that XLA cannot leave any out."""
  arrays = [x.astype(jnp.int32) if x.dtype == bool else x for x in jax.tree.leaves(tree)]
  return sum((ordering.never(x).astype(jnp.float32) for x in arrays), jnp.float32(0))


class SamplingOnly(Learner):
  """Samples the batches and updates their priorities; takes no gradient steps."""

  def update(
    self, state: LearnerState, replay: Replay, key: Key
  ) -> tuple[LearnerState, Priorities, Metrics]:
    """See `Learner.update`. The metrics have what `Loop.learn` needs only."""
    batch = self.sampler.sample(self.ring, replay, key, self.batch_size, state.step)
    error = batch.weight + forced(batch)
    priorities = self.sampler.update(replay.priorities, batch, error)
    state = dataclasses.replace(state, step=state.step + 1)
    return state, priorities, {"learner/gradient_norm": jnp.stack([error[0], jnp.float32(1)])}


@dataclasses.dataclass(frozen=True)
class FixedSampler:
  """A sampler that returns the same batch every time."""

  batch: Sample

  def sample(self, ring: Ring, replay: Replay, key: Key, size: int, step: Array) -> Sample:
    # The batch is made to depend on the step. Otherwise the compiler could move work on the
    # constant batch out of the loop and do it only once.
    return jax.tree.map(lambda x: ordering.after(x, step), self.batch)

  def update(self, priorities: Priorities, sample: Sample, error: Array) -> Priorities:
    return priorities


@record
class FreeState:
  """The state of `FreeEnvironment`."""

  # i32[]   The first field, because `ordering.never` makes other arrays depend on the first one of
  # a pytree; so what depends on this state depends on the newest action.
  step: Array
  frames: Array  # [4, B, *frame_shape]


@dataclasses.dataclass(frozen=True)
class FreeEnvironment:
  """An environment of negligible cost: four frames of noise in turn, in an episode without end."""

  spec: Spec

  def reset(self, key: Key, device: int = 0) -> FreeState:
    noise = jax.random.randint(key, (4, self.spec.num_envs, *self.spec.frame_shape), 0, 255)
    return FreeState(jnp.zeros((), jnp.int32), noise.astype(self.spec.frame_dtype))

  def send(self, state: FreeState, action: Array) -> FreeState:
    """See `envs.base.Environment`. The new state depends on the action, as in real environments."""
    return dataclasses.replace(state, step=ordering.after(state.step + 1, action))

  def recv(self, state: FreeState, after: Array | None = None) -> tuple[FreeState, TimeStep]:
    zeros = jnp.zeros(self.spec.num_envs, jnp.float32)
    flags = jnp.zeros(self.spec.num_envs, bool)
    step = state.step if after is None else ordering.after(state.step, after)
    return state, TimeStep(
      state.frames[step % 4],
      reward=zeros,
      discount=zeros + 1,
      first=flags | (step == 0),
      last=flags,
    )
