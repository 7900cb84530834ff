"""Off-policy corrections of returns: V-trace and Retrace, from recorded behavior probabilities.

A return from the replay follows the behavior policy mu of the past. Corrections cut it where the
policy pi that is to be evaluated would rather have acted otherwise: with c = min(1, pi(a) / mu(a))
at the actions taken, the mixing vector of `returns.lambda_returns` is lambda c.

* Retrace (Munos et al. 2016, eq. 4): this alone. The return G_t of a step estimates the value of
  the action taken at it, which is not corrected. Retrace's Q at later steps is replaced by the
  value of the state, so that a model without a Q head can have these targets.
* V-trace (Espeholt et al. 2018, eq. 1): with both truncation levels at 1, its targets are
  v_t + c_t (G_t - v_t) with the same G, since rho_t = c_t there. They are values of the policy
  proportional to min(mu, pi), which lies between the two.

pi is the policy head of the target network, which is at most `--learner.target_period` gradient
steps old. It is not the search's improved policy: that would take a search at each of the L steps.
The network has to look at all of these steps for their values, too.
"""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

from muzero_jax.networks.model import initial_inference
from muzero_jax.replay.stacks import stacks
from muzero_jax.types import Array, Example, Model, Params, record


@record
class ImportanceRatios:
  """Truncated importance ratios of an example, in 0..1; 1 where nothing is corrected."""

  # f32[..., L]   factor on lambda in the mixing vector, at steps t .. t+L-1
  mixing: Array
  # f32[..., L]   weight of the return from a step, against the step's own value, in its target
  start: Array


class Correction(Protocol):
  """Computes the truncated importance ratios of an example."""

  def __call__(self, target_params: Params, example: Example) -> ImportanceRatios:
    """For examples [N, ...]; `ImportanceRatios` of shape [N, L]."""
    ...


def uncorrected(target_params: Params, example: Example) -> ImportanceRatios:
  """A `Correction` that corrects nothing."""
  del target_params
  ones = jnp.ones(example.last.shape, jnp.float32)
  return ImportanceRatios(ones, ones)


@dataclasses.dataclass(frozen=True)
class OffPolicy:
  """V-trace or Retrace. Examples must hold L-1 later frames and the exact `log_prob`.

  The call of the network is the same as that of `bootstrap.TargetNetwork` with `every_step`; in one
  compiled program it is made once.
  """

  model: Model
  stack: int  # S
  kind: str  # "vtrace" or "retrace"

  def __call__(self, target_params: Params, example: Example) -> ImportanceRatios:
    """See `Correction`. The last step has no recorded action; every return ends there."""
    size, length = example.last.shape
    steps = jnp.broadcast_to(jnp.arange(length), (size, length))
    root = initial_inference(self.model, target_params, stacks(example, steps, self.stack))
    log_policy = jax.nn.log_softmax(root.policy_logits).reshape(size, length, -1)[:, :-1]
    taken = jnp.take_along_axis(log_policy, example.action[..., None], -1)[..., 0]
    ratio = jnp.exp(jnp.minimum(taken - example.log_prob, 0.0))
    ratio = jnp.concatenate([ratio, jnp.ones((size, 1))], 1)
    return ImportanceRatios(ratio, ratio if self.kind == "vtrace" else jnp.ones_like(ratio))
