"""Stand-ins for measuring: each leaves out one part of a run and does the work of all others.

What a run would cost without a tree is measured with `Chain`, without a network with `free_model`,
without the replay with `Fixed`, and without emulators with `Still`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from muzero_jax.device import ordering
from muzero_jax.envs.base import Spec
from muzero_jax.replay.frames import Priorities, Replay, Ring
from muzero_jax.search.base import RecurrentFn, Search, log_prob
from muzero_jax.types import Array, Decision, Key, Model, Params, Root, Sample, TimeStep, record


@dataclasses.dataclass(frozen=True)
class Chain:
  """A search's network without its tree: as many model steps for as many roots, one after the
  other.
  """

  model: Model
  discount: float
  num_simulations: int

  @property
  def simulations(self) -> int:
    """Model steps per root."""
    return self.num_simulations

  def for_evaluation(self) -> "Chain":
    """The same."""
    return self

  def for_reanalysis(self) -> "Chain":
    """The same."""
    return self

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """See `search.base.Search`; the decision is of no use, but depends on all that was computed."""
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
    (_, logits, value), _ = jax.lax.scan(
      step, start, jnp.arange(self.num_simulations, dtype=jnp.int32)
    )
    # Whoever takes the policy alone takes the values with it, or the compiler would leave them out.
    policy = jax.nn.softmax(logits + value[:, None])
    action = jnp.argmax(policy, -1).astype(jnp.int32)
    zeros = jnp.zeros_like(value)
    return Decision(action, policy, value, log_prob(policy, action), zeros, zeros)


def without_tree(search: Any) -> Search:
  """The network alone of a search with a model and a discount. One that has no tree is that
  already.
  """
  return Chain(search.model, search.discount, search.simulations) if search.simulations else search


def free_model(model: Model, num_actions: int) -> Model:
  """The model, but that it costs nothing beside a tree's own work, with latents of the same size:
  predictions are read off the latent.

  Latents differ from node to node, so that trees are as deep as a real model's, or nearly.
  """

  def predict(params: Params, hidden: Array) -> tuple[Array, Array]:
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


@dataclasses.dataclass(frozen=True)
class Fixed:
  """The same batch every time."""

  batch: Sample

  def sample(self, ring: Ring, replay: Replay, key: Key, size: int, step: Array) -> Sample:
    """See `replay.sampling.Sampler`."""
    # Not before the last step's parameters: the compiler may not prepare what stays the same once
    # and for all.
    return jax.tree.map(lambda x: ordering.after(x, step), self.batch)

  def update(self, priorities: Priorities, sample: Sample, error: Array) -> Priorities:
    """See `replay.sampling.Sampler`; nothing changes."""
    return priorities


@record
class StillState:
  """Frames to show in turn."""

  step: Array  # i32[]   first: what is tied to the state is tied to the newest action
  frames: Array  # [4, B, *frame_shape]


@dataclasses.dataclass(frozen=True)
class Still:
  """An environment that costs nothing: it shows four frames of noise in turn, and ends never."""

  spec: Spec

  def reset(self, key: Key, device: int = 0) -> StillState:
    """See `envs.base.Environment`."""
    noise = jax.random.randint(key, (4, self.spec.num_envs, *self.spec.frame_shape), 0, 255)
    return StillState(jnp.zeros((), jnp.int32), noise.astype(self.spec.frame_dtype))

  def send(self, state: StillState, action: Array) -> StillState:
    """See `envs.base.Environment`; waits for the action, as every environment does."""
    return dataclasses.replace(state, step=ordering.after(state.step + 1, action))

  def recv(self, state: StillState, after: Array | None = None) -> tuple[StillState, TimeStep]:
    """See `envs.base.Environment`."""
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
