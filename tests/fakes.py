"""Models whose answers can be read off their input."""

import jax.numpy as jnp

from muzero_jax.types import Model


def digits(params, frames):
  """Frames u8[N, S, 1] of digits -> the stack as one decimal number, oldest frame first, times the
  parameter.
  """
  places = 10.0 ** jnp.arange(frames.shape[1] - 1, -1, -1)
  return params * (frames[..., 0].astype(jnp.float32) @ places)[:, None]


DIGITS = Model(
  init=lambda key: jnp.float32(1),
  encode=digits,
  predict=lambda params, hidden: (jnp.zeros((hidden.shape[0], 2)), hidden),
  step=lambda params, hidden, action: (hidden, hidden),
  decode=lambda logits: logits[..., 0],
  encode_scalar=lambda scalar: scalar[..., None],
)
