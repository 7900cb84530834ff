"""Values of states from Q of every action: what off-policy returns bootstrap from.

A recorded value is that of the policy that acted then. The maximum over Q is the value of a better
policy, whichever policy acted. Each function estimates values for `bootstrap.TargetNetwork`, whose
parameters are the target network's, with the current ones under "online".
"""

import jax
import jax.numpy as jnp

from muzero_jax.networks.model import encode_many
from muzero_jax.networks.q import q_values
from muzero_jax.types import Array, Model, Params


def q_max(model: Model, params: Params, frames: Array) -> Array:
  """max_a Q'(s, a) with the target network's Q' (Mnih et al. 2015), f32[N]."""
  return jnp.max(target_q(model, params, frames), -1)


def q_double(model: Model, params: Params, frames: Array) -> Array:
  """Q'(s, argmax_a Q(s, a)) with the current Q and the target network's Q', f32[N].

  Double Q-learning (van Hasselt et al. 2016, eq. 4): the maximum over noisy estimates is too high,
  and the noise of two networks differs.
  """
  best = jnp.argmax(target_q(model, params["online"], frames), -1)
  return jnp.take_along_axis(target_q(model, params, frames), best[:, None], -1)[:, 0]


def q_mellowmax(model: Model, params: Params, frames: Array, omega: float) -> Array:
  """mm_omega of the target network's Q' (Asadi and Littman 2017), f32[N]."""
  return mellowmax(target_q(model, params, frames), omega)


def target_q(model: Model, params: Params, frames: Array) -> Array:
  """Q of every action in stacks of frames u8[N, S, *frame_shape], f32[N, A]."""
  return q_values(model, params, encode_many(model, params, frames))


def mellowmax(q: Array, omega: float) -> Array:
  """mm_omega(q) = log(mean(exp(omega q))) / omega over the last axis (Asadi and Littman 2017,
  section 3).

  It lies between the mean (omega -> 0) and the maximum (omega -> infinity), and is a
  non-expansion, as the expectation of Q under a softmax policy is not.
  """
  return (jax.nn.logsumexp(omega * q, -1) - jnp.log(q.shape[-1])) / omega
