"""A second dynamics model, which jumps several steps at once, and a policy that pursues its goals.

A macro action is one of a few learned codes for sequences of j actions. Sequences that lead to the
same place can share one.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from muzero_jax.networks.heads import bins, hidden_state, initializer, part
from muzero_jax.networks.model import Logits, scale_hidden
from muzero_jax.types import Array, JumpModel, Model


class Jumps(nn.Module):
  """All that a jump needs, on flattened hidden states in float32; see `JumpModel`."""

  width: int  # of the hidden layers
  steps: int
  macros: int
  num_actions: int
  bins: int
  features: int  # size of a hidden state

  def setup(self) -> None:
    self.encoder = nn.Sequential([nn.Dense(self.width), nn.LayerNorm(), nn.relu])
    self.coder = nn.Dense(self.macros)
    self.inner, self.embedding = nn.Dense(self.width), nn.Dense(self.width, use_bias=False)
    self.norm = nn.LayerNorm()
    # 0 at initialization: at first the hidden state persists, as in the dynamics of one step.
    self.outer = nn.Dense(self.features, kernel_init=nn.initializers.zeros)
    self.rewards = Logits(self.width, self.bins)
    self.preferences = Logits(self.width, self.macros)
    self.pursuit = Logits(self.width, self.num_actions)

  def code(self, actions: Array) -> Array:
    done = jax.nn.one_hot(actions, self.num_actions).reshape(actions.shape[0], -1)
    return self.coder(self.encoder(done))

  def step(self, hidden: Array, macro: Array) -> tuple[Array, Array]:
    x = nn.relu(self.norm(self.inner(flat(hidden)) + self.embedding(macro)))
    later = scale_hidden((flat(hidden) + self.outer(x)).reshape(hidden.shape))
    return later.astype(hidden.dtype), self.rewards(x)

  def prior(self, hidden: Array) -> Array:
    return self.preferences(flat(hidden))

  def reach(self, hidden: Array, goal: Array) -> Array:
    return self.pursuit(jnp.concatenate([flat(hidden), flat(goal) - flat(hidden)], -1))

  def __call__(self, hidden: Array) -> Any:
    """Calls everything once, so that all parameters are initialized."""
    size = hidden.shape[0]
    actions = jnp.zeros((size, self.steps), jnp.int32)
    later, rewards = self.step(hidden, self.code(actions))
    return rewards, self.prior(later), self.reach(hidden, later)


def flat(hidden: Array) -> Array:
  """Hidden states [N, ...] as vectors f32[N, features]."""
  return hidden.reshape(hidden.shape[0], -1).astype(jnp.float32)


def with_jumps(
  model: Model,
  num_actions: int,
  frames: jax.ShapeDtypeStruct,
  steps: int,
  macros: int,
  width: int = 256,
) -> Model:
  """Adds a model that jumps. Its parameters are an entry "jump" of the model's, so that searches
  have them. The other parameters are initialized as without it.

  Args:
    model: without this part.
    num_actions: A.
    frames: shape and dtype of one stack, [S, *frame_shape].
    steps: j, of a jump.
    macros: number of macro actions.
    width: of the hidden layers.
  """
  features = hidden_state(model, frames).size
  module = Jumps(width, steps, macros, num_actions, bins(model), features)

  def method(name: str) -> Any:
    return lambda params, *inputs: module.apply(params["jump"], *inputs, method=name)

  functions = {name: method(name) for name in ("code", "step", "prior", "reach")}
  init = initializer(model, frames, "jump", module, 8)
  return model._replace(init=init, jump=JumpModel(steps, macros, **functions))


def jump_model(model: Model) -> JumpModel:
  """The part of the model that jumps. Raises ValueError if it has none."""
  return part(model.jump, "the model cannot jump: add this by `networks.jump.with_jumps`")


def chosen(logits: Array) -> Array:
  """One-hot of the largest logit, f32[N, macros], with the gradient of the softmax (the
  straight-through estimator: Bengio et al. 2013, section 3).
  """
  soft = jax.nn.softmax(logits)
  hard = jax.nn.one_hot(jnp.argmax(logits, -1), logits.shape[-1])
  return hard + soft - jax.lax.stop_gradient(soft)
