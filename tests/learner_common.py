"""What tests of the learner share: linear models whose gradients can be worked by hand, and the
parts around them.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from muzero_jax.learner import Learner
from muzero_jax.replay.frames import Ring
from muzero_jax.types import Model, Sample, Term
from tests import builders

ACTIONS, UNROLL, STACK = 4, 2, 1


def linear_model():
  """h_0 = e * frame; h' = w * h, or the action itself where w is None; the value is h."""

  def step(params, hidden, action):
    if params["w"] is None:
      return action[:, None].astype(jnp.float32), jnp.zeros((hidden.shape[0], 1))
    return params["w"] * hidden, hidden

  return Model(
    init=lambda key: {"e": jnp.float32(1), "w": jnp.float32(1)},
    encode=lambda params, frames: params["e"] * frames[:, -1],
    predict=lambda params, hidden: (jnp.zeros((hidden.shape[0], ACTIONS)), hidden),
    step=step,
    decode=lambda logits: logits[..., 0],
    encode_scalar=lambda scalar: scalar[..., None],
  )


def example(frames, action=0):
  """Examples whose root shows `frames` (one number each)."""
  size = len(frames)
  shown = np.zeros((size, STACK + UNROLL + 1, 1), np.float32)
  shown[:, STACK - 1, 0] = frames
  return builders.example(
    size, unroll=UNROLL, num_actions=ACTIONS, frames=shown, action=action, age=jnp.arange(size)
  )


def targets(size, **given):
  return builders.targets(size, UNROLL, ACTIONS, **given)


def term(loss):
  return Term(init=lambda key: {}, loss=loss)


@dataclasses.dataclass(frozen=True)
class FixedSampler:
  """A sampler that always gives the same sample, and returns the errors it is told in place of
  priorities.
  """

  drawn: Any

  def sample(self, ring, replay, key, size, step):
    return self.drawn

  def update(self, priorities, sample, error):
    return error


def sample(one, weight=None):
  size = one.action.shape[0]
  return Sample(
    one, jnp.arange(size), jnp.ones(size) if weight is None else jnp.asarray(weight, jnp.float32)
  )


def learner(terms, drawn=None, **changes):
  ring = Ring(8, 1, ACTIONS, (1,), np.float32, stack=STACK, unroll=UNROLL, window=UNROLL + 2)
  size = 1 if drawn is None else drawn.index.shape[0]
  made = Learner(
    linear_model(),
    terms,
    lambda _: optax.sgd(1.0),
    ring,
    FixedSampler(drawn),
    lambda params, key, example: targets(example.action.shape[0]),
    batch_size=size,
    mean=lambda x: x,
  )
  return dataclasses.replace(made, **changes)


def hidden_after(i):
  """A term whose loss is the hidden state after i steps of the unroll."""
  return {"hidden": (1.0, term(lambda params, context: context.hidden[:, i, 0]))}


EMPTY = learner({}).ring.init()
