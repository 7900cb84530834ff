"""Metrics, computed inside the loop, that help to find out why a run does not learn.

They measure the errors along the unroll, the share of dead units, the calibration of values against
the returns that followed, and whether the search's Q predicts the effect of actions.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Protocol

import jax
import jax.numpy as jnp

from muzero_jax.networks.model import encode_many
from muzero_jax.replay.frames import Replay, Ring
from muzero_jax.replay.stacks import stacks
from muzero_jax.search.none import look_ahead
from muzero_jax.targets.returns import Returns, clipped, n_step_returns
from muzero_jax.targets.unroll import masks
from muzero_jax.types import (
  Array,
  Context,
  Decision,
  Example,
  Metrics,
  Model,
  Params,
  Root,
  TimeStep,
  record,
)

SAME = 1e-3  # a unit of the hidden state whose range over a batch is smaller than this is dead
REMAINDER = 0.05  # a pending return ends when later rewards have less than this weight in it


def unroll_errors(model: Model, context: Context) -> Metrics:
  """Mean absolute errors in units of reward, per unroll step: values (0 .. k), rewards (1 .. k)."""
  targets = context.targets
  value = jnp.abs(model.decode(context.value_logits) - targets.value) * targets.target_mask
  reward = (
    jnp.abs(model.decode(context.reward_logits) - targets.reward) * targets.target_mask[:, 1:]
  )
  sums = {
    f"unroll/value_error_{i}": (value[:, i], targets.target_mask[:, i])
    for i in range(value.shape[1])
  }
  sums |= {
    f"unroll/reward_error_{i + 1}": (reward[:, i], targets.target_mask[:, i + 1])
    for i in range(reward.shape[1])
  }
  return {name: jnp.stack([error.sum(), mask.sum()]) for name, (error, mask) in sums.items()}


def dead_units(hidden: Array) -> Array:
  """The share of units of hidden states [N, ...] that are constant over the batch, f32[]."""
  return jnp.mean(jnp.ptp(hidden.reshape(hidden.shape[0], -1), 0) < SAME)


@record
class PendingReturn:
  """For each of B environments: a value estimated some steps ago, and the rewards since then."""

  value: Array  # f32[B]   the search's value at the step where the return begins
  total: Array  # f32[B]   sum of discounted rewards since then
  weight: Array  # f32[B]   product of the discounts since then; negative: no return is pending


def no_returns_pending(num_envs: int) -> PendingReturn:
  """The state in which no environment has a pending return."""
  zeros = jnp.zeros(num_envs, jnp.float32)
  return PendingReturn(zeros, zeros, zeros - 1)


@dataclasses.dataclass(frozen=True)
class Calibration:
  """Compares the search's values with the returns that followed.

  Each environment has one pending return at a time. It ends where the environment ends it, or once
  its discount has shrunk below `REMAINDER` and it bootstraps from the newest value. It is dropped
  if the time limit truncates its episode.
  """

  discount: float  # per agent step
  clip: bool = True  # rewards are clipped to their signs, as in the training targets

  def step(
    self, pending: PendingReturn, timestep: TimeStep, decision: Decision
  ) -> tuple[PendingReturn, Metrics]:
    """Adds a step and the decision made at it.

    Returns:
      The pending returns; and the mean value, return and absolute difference of those that ended.
    """
    is_pending = pending.weight >= 0
    reward = clipped(timestep.reward, self.clip)
    total = pending.total + pending.weight * reward
    weight = pending.weight * self.discount * timestep.discount
    ended = is_pending & (weight < REMAINDER) & ~(timestep.last & (weight > 0))
    result = total + weight * decision.value
    begins = (ended | ~is_pending) & ~timestep.last
    new = PendingReturn(
      value=jnp.where(begins, decision.value, pending.value),
      total=jnp.where(begins, 0.0, total),
      weight=jnp.where(begins, 1.0, jnp.where(timestep.last, -1.0, weight)),
    )
    values = {"value": pending.value, "return": result, "error": jnp.abs(pending.value - result)}
    return new, {
      f"calibration/{name}": jnp.stack([jnp.sum(x * ended), jnp.sum(ended, dtype=x.dtype)])
      for name, x in values.items()
    }


class Monitor(Protocol):
  """Metrics that are computed at every tick from all environments of a device."""

  def __call__(self, params: Params, root: Root, decision: Decision, replay: Replay) -> Metrics:
    """Metrics of the newest roots and decisions.

    Args:
      params: what the search was called with.
      root: the B newest roots.
      decision: the decisions made at them.
      replay: ends with the step of `root`; `decision` is not stored yet.
    """
    ...


@dataclasses.dataclass(frozen=True)
class Skill:
  """Whether actions that the search prefers lead to higher returns. A `Monitor`.

  `search/skill` is the regression slope of y = return - V on x = Q(a) - V, where a is the action
  taken: 1 if Q is right, 0 if it is noise. A step enters once the n steps after it are in the
  replay. Returns are computed as for training, from recorded values.
  """

  ring: Ring
  returns: Returns

  def __call__(self, params: Params, root: Root, decision: Decision, replay: Replay) -> Metrics:
    """See `Monitor`. `derived` computes the standard error of the slope from these metrics."""
    del params, root, decision
    example, complete = self.ring.completed(replay)
    n, discount, td_lambda = self.returns.n_step, self.returns.discount, self.returns.td_lambda

    def follows(example: Example) -> Array:
      reward = clipped(example.reward, self.returns.clip_rewards)
      value, last = example.value, example.last
      return (
        n_step_returns(
          reward,
          discount * example.discount,
          value[1:],
          last[1:],
          n=n,
          count=1,
          td_lambda=td_lambda,
        )[0]
        - value[0]
      )

    counts = (complete & ~example.last[:, 0]).astype(jnp.float32)
    y = counts * jax.vmap(follows)(example)
    x = counts * example.advantage
    # Returns of neighboring steps share most of their rewards, so only one step in the effective
    # length of a return is counted as independent.
    independent = counts.sum() / min(n, 1 / (1 - td_lambda * discount + 1e-6))
    return {
      "search/skill": jnp.stack([jnp.sum(x * y), jnp.sum(x * x)]),
      "search/skill_residual": jnp.stack([jnp.sum(y * y), jnp.sum(x * x)]),
      "search/advantage": jnp.stack([jnp.sum(jnp.abs(x)), counts.sum()]),
      "search/independent_steps": jnp.stack([independent, jnp.minimum(1.0, independent)]),
    }


@dataclasses.dataclass(frozen=True)
class EquivalentActionsQ:
  """Whether Q differs more between different actions than between equivalent ones. A `Monitor`.

  Actions are equivalent if the game treats them alike, as Pong does FIRE and NOOP.
  `search/twins` is the mean squared difference of Q within classes of equivalent actions, divided
  by that between the means of classes: 0 if Q reflects what actions do, about 1 or more if
  differences of Q are noise. Q is computed by one step of the model.
  """

  model: Model
  discount: float  # per agent step
  classes: tuple[tuple[int, ...], ...]  # classes of equivalent actions
  roots: int = 4  # environments to measure, the first ones

  def __call__(self, params: Params, root: Root, decision: Decision, replay: Replay) -> Metrics:
    """See `Monitor`."""
    del decision, replay
    few = jax.tree.map(lambda x: x[: self.roots], root)
    q = look_ahead(self.model, self.discount, params, few)
    within = [
      jnp.square(q[:, a] - q[:, b]) for twins in self.classes for a in twins for b in twins if a < b
    ]
    means = [jnp.mean(q[:, list(twins)], -1) for twins in self.classes]
    between = [jnp.square(a - b) for i, a in enumerate(means) for b in means[:i]]
    ratio = jnp.stack([jnp.sum(jnp.stack(x)) / len(x) for x in (within, between)])
    return {
      "search/twins": ratio,
      "search/q_between": jnp.stack([ratio[1], jnp.float32(few.value.shape[0])]),
    }


@dataclasses.dataclass(frozen=True)
class Drift:
  """How far the unroll's hidden states are from those of the frames reached. A `Monitor`.

  `unroll/drift_i` is the mean squared distance between the hidden state after i steps of the model,
  and the encoding of the frames at that step, divided by that between two encodings drawn at
  random: 0 if dynamics and encoder agree, 1 if the prediction is as far away as another state.
  Examples must hold k later frames (E >= k).
  """

  model: Model
  ring: Ring
  roots: int = 16  # environments to measure, the first ones

  def __call__(self, params: Params, root: Root, decision: Decision, replay: Replay) -> Metrics:
    """See `Monitor`."""
    del root, decision
    example, complete = self.ring.completed(replay)
    example = jax.tree.map(lambda x: x[: self.roots], example)
    count, steps = example.action.shape[0], self.ring.unroll
    frames = stacks(example, jnp.arange(steps + 1), self.ring.stack)
    encoded = encode_many(self.model, params, frames)
    begun = encoded.reshape(count, steps + 1, *encoded.shape[1:])[:, 0]
    reached = self.model.core(encoded).astype(jnp.float32)
    reached = reached.reshape(count, steps + 1, *reached.shape[1:])

    def step(hidden: Array, action: Array) -> tuple[Array, Array]:
      hidden, _ = self.model.step(params, hidden, action)
      return hidden, self.model.core(hidden)

    _, unrolled = jax.lax.scan(step, begun, example.action[:, :steps].T)
    unrolled = jnp.swapaxes(unrolled, 0, 1).astype(jnp.float32)
    counts = jax.vmap(masks)(example.discount[:, :steps], example.last[:, : steps + 1])[0]
    counts = counts * complete
    return drift(unrolled, reached, counts)


def drift(unrolled: Array, reached: Array, counts: Array) -> Metrics:
  """The metrics of `Drift`.

  Args:
    unrolled: f32[N, k, ...], hidden states after 1 .. k steps of the model.
    reached: f32[N, k+1, ...], encodings at steps 0 .. k.
    counts: f32[N, k+1], 1 where a step counts, else 0.
  """
  size, steps = counts.shape
  reached = reached.reshape(size, steps, -1)
  distance = jnp.sum(jnp.square(unrolled.reshape(size, steps - 1, -1) - reached[:, 1:]), -1)
  total = counts.sum()
  share = counts[..., None] / jnp.maximum(total, 1.0)
  middle = jnp.sum(share * reached, (0, 1), keepdims=True)
  variance = jnp.sum(share * jnp.square(reached - middle)) * total / jnp.maximum(total - 1, 1.0)
  found = {}
  for i in range(1, steps):
    ended = counts[:, i]
    sums = [jnp.sum(distance[:, i - 1] * ended), 2 * variance * ended.sum()]
    found[f"unroll/drift_{i}"] = jnp.stack(sums)
  return found


def derived(sums: Mapping[str, tuple[float, float]]) -> dict[str, float]:
  """Metrics that are computed on the host from the sums of several others.

  Args:
    sums: name -> (sum, weight).

  Returns:
    `episode/count`, the number of episodes that ended, and `search/skill_error`, the standard error
    of `search/skill`; each only where there is something to compute it from.
  """
  found = {}
  if episodes := sums.get("episode/return", (0.0, 0.0))[1]:
    found["episode/count"] = float(episodes)
  names = ("skill", "skill_residual", "independent_steps")
  (products, squares), (residuals, _), (steps, _) = (
    sums.get(f"search/{name}", (0.0, 0.0)) for name in names
  )
  if squares > 0 and steps > 0:
    slope = products / squares
    error = math.sqrt(max(residuals / squares - slope**2, 0.0) / steps)
    found["search/skill_error"] = error
  return found


def search_metrics(params: Params, root: Root, decision: Decision, replay: Replay) -> Metrics:
  """Compares the search's policy and value with the prior's. A `Monitor`.

  Entropies are in nats, values in units of reward, and the depth of the tree in steps.
  """
  del params, replay
  size = jnp.float32(decision.action.shape[0])
  policy, prior = decision.policy, jax.nn.softmax(root.policy_logits)
  agrees = jnp.argmax(policy, -1) == jnp.argmax(prior, -1)
  values = {
    "search/entropy": _entropy(policy),
    "search/prior_entropy": _entropy(prior),
    "search/value": decision.value,
    "search/prior_value": root.value,
    "search/agreement": agrees.astype(jnp.float32),
    "search/depth": decision.depth,
  }
  return {name: jnp.stack([x.sum(), size]) for name, x in values.items()}


def _entropy(probabilities: Array) -> Array:
  return -jnp.sum(probabilities * jnp.log(jnp.maximum(probabilities, 1e-12)), -1)
