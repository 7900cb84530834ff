"""An autoencoder: the hidden states of the root and of the unroll must show the frames.

Rewards and values reach the encoder late where they are sparse; frames are there from the first
step on. MuZero leaves this out on purpose, because frames hold much that does not matter for
acting. Such a loss is that of world models (Ha and Schmidhuber 2018; Dreamer, Hafner et al. 2020);
in MuZero it was examined by Anand et al. 2022 ("Procedural generalization by planning with
self-supervised world models", section 3.2). `schedule.during` ends it early in a run.
"""

import jax
import jax.numpy as jnp

from muzero_jax.losses.common import per_state
from muzero_jax.networks.model import Logits, apply
from muzero_jax.types import Array, Context, Key, Model, Params, Term


def reconstruction(
  model: Model,
  stack: int,
  hidden: jax.ShapeDtypeStruct,
  pixels: int,
  width: int = 256,
) -> Term:
  """Makes the loss term. Its examples must hold k later frames (E >= k), without augmentation.

  The loss is the squared error of the newest frames at the k+1 steps, as a fraction of their
  variance over the batch: 1 for a decoder that knows their mean only, 0 for a perfect one. It is
  averaged over the steps; absorbing states do not count.

  Args:
    model: not used.
    stack: S.
    hidden: shape of one hidden state with a batch axis.
    pixels: values in a frame.
    width: of the decoder's hidden layer.
  """
  del model
  # Hidden states -> the frame's pixels, less their mean; like a head, all zeros at first.
  decoder = Logits(width, pixels)

  def init(key: Key) -> Params:
    return {"decoder": decoder.init(key, jnp.zeros(hidden.shape))}

  def loss(params: Params, context: Context) -> Array:
    size, count = context.hidden.shape[:2]
    mask = context.targets.policy_mask
    frames = context.example.frames[:, stack - 1 : stack - 1 + count]
    unit = 255.0 if frames.dtype == jnp.uint8 else 1.0
    frames = frames.astype(jnp.float32).reshape(size, count, -1) / unit
    flat = per_state(context.hidden)
    shown = apply(decoder, params["reconstruction"]["decoder"], flat).reshape(frames.shape)
    share = mask[..., None] / jnp.maximum(mask.sum(), 1.0)
    difference = frames - jnp.sum(share * frames, (0, 1), keepdims=True)
    variance = jnp.sum(share * jnp.square(difference))
    error = jnp.sum(jnp.square(difference - shown), -1) / jnp.maximum(variance, 1e-6)
    return jnp.mean(error * mask, -1)

  return Term(init, loss)
