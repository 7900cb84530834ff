"""An ensemble of value heads with random priors (Osband, Aslanides and Cassirer 2018, "Randomized
Prior Functions for Deep Reinforcement Learning"): their disagreement estimates what has not
been learned. Noise of returns, which all members average alike, does not add to it.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from muzero_jax.networks.heads import bins, fixed_parameters, hidden_state, initializer
from muzero_jax.networks.model import Logits, apply
from muzero_jax.types import Array, Model, Params


class Members(nn.Module):
  """Hidden states [N, ...] -> logits of every member's value, f32[N, members, outputs]."""

  members: int
  width: int
  outputs: int

  @nn.compact
  def __call__(self, hidden: Array) -> Array:
    heads = [Logits(self.width, self.outputs)(hidden) for _ in range(self.members)]
    return jnp.stack(heads, 1)


class Prior(nn.Module):
  """Hidden states [N, ...] -> f32[N, members], from layers that are never trained."""

  members: int
  width: int

  @nn.compact
  def __call__(self, hidden: Array) -> Array:
    x = hidden.reshape(hidden.shape[0], -1).astype(jnp.float32)
    return nn.Dense(self.members)(nn.relu(nn.Dense(self.width)(x)))


def with_ensemble(
  model: Model,
  frames: jax.ShapeDtypeStruct,
  members: int = 5,
  width: int = 64,
  scale: float = 1.0,
) -> Model:
  """Adds the ensemble to a model, and the log of its variance as the model's uncertainty. Its
  parameters are an entry "ensemble" of the model's. The other parameters are initialized as
  without it. The priors are the same in all runs.

  Args:
    model: without an uncertainty.
    frames: shape and dtype of one stack, [S, *frame_shape].
    members: number of value heads.
    width: of the hidden layers of heads and priors.
    scale: of the priors, in units of return.
  """
  heads, prior = Members(members, width, bins(model)), Prior(members, width)
  init = initializer(model, frames, "ensemble", heads, 7)
  fixed = fixed_parameters(prior, hidden_state(model, frames))

  def ensemble(params: Params, hidden: Array) -> tuple[Array, Array]:
    return apply(heads, params["ensemble"], hidden), scale * apply(prior, fixed, hidden)

  return model._replace(
    init=init, ensemble=ensemble, log_variance=disagreement(model.decode, ensemble)
  )


def disagreement(
  decode: Callable[[Array], Array], ensemble: Callable[[Params, Array], tuple[Array, Array]]
) -> Callable[[Params, Array], Array]:
  """Makes `Model.log_variance`: the log of the variance of the members' values. Each is what its
  head predicts plus its prior.

  Args:
    decode: that of the model.
    ensemble: see `Model.ensemble`.
  """

  def log_variance(params: Params, hidden: Array) -> Array:
    logits, prior = ensemble(params, hidden)
    return jnp.log(jnp.var(decode(logits) + prior, -1) + 1e-6)

  return log_variance


def member_logits(model: Model, params: Params, hidden: Array) -> tuple[Array, Array]:
  """The logits of every member, f32[N, members, bins], and the priors, f32[N, members].

  Raises:
    ValueError: the model has no ensemble.
  """
  if model.ensemble is None:
    raise ValueError("the model has no ensemble: add one by `networks.ensemble`")
  return model.ensemble(params, hidden)
