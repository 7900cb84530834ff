"""What explains a run that does not learn: errors by unroll step, dead units, values against the
returns that followed, and whether Q knows what an action does.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Protocol

import jax
import jax.numpy as jnp

from muzero_jax.replay.frames import Replay, Ring
from muzero_jax.search.none import look_ahead
from muzero_jax.targets.returns import Returns, n_step_returns
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

SAME = 1e-3  # a latent unit that moves less than this over a batch tells nothing
REMAINDER = 0.05  # a probe ends when what lies ahead weighs less than this


def unroll_errors(model: Model, context: Context) -> Metrics:
  """Mean absolute errors, in units of reward: of values at unroll steps 0 .. k, of rewards at 1 ..
  k.
  """
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
  """The share of units of latents [N, ...] that are the same in the whole batch, f32[]."""
  return jnp.mean(jnp.ptp(hidden.reshape(hidden.shape[0], -1), 0) < SAME)


@record
class Probe:
  """Of B games: a value predicted some steps ago, and what came of it since."""

  value: Array  # f32[B]   the search's value when the probe began
  total: Array  # f32[B]   discounted rewards since
  weight: Array  # f32[B]   of what lies ahead; below 0 no probe is under way


def new_probe(num_envs: int) -> Probe:
  """None is under way."""
  zeros = jnp.zeros(num_envs, jnp.float32)
  return Probe(zeros, zeros, zeros - 1)


@dataclasses.dataclass(frozen=True)
class Calibration:
  """Compares the search's values with the returns that followed.

  One probe at a time per game: it ends with the return, or when what lies ahead hardly counts and
  is taken from the value then. One that an episode's time limit cuts off is dropped.
  """

  discount: float  # per agent step
  clip: bool = True  # values are of rewards' signs

  def step(self, probe: Probe, time: TimeStep, decision: Decision) -> tuple[Probe, Metrics]:
    """Adds the newest step and the decision in it.

    Returns:
      The probes, and of those that ended the mean value, return, and absolute difference.
    """
    running = probe.weight >= 0
    reward = jnp.sign(time.reward) if self.clip else time.reward
    total = probe.total + probe.weight * reward
    weight = probe.weight * self.discount * time.discount
    ended = running & (weight < REMAINDER) & ~(time.last & (weight > 0))
    result = total + weight * decision.value
    begins = (ended | ~running) & ~time.last
    new = Probe(
      value=jnp.where(begins, decision.value, probe.value),
      total=jnp.where(begins, 0.0, total),
      weight=jnp.where(begins, 1.0, jnp.where(time.last, -1.0, weight)),
    )
    values = {"value": probe.value, "return": result, "error": jnp.abs(probe.value - result)}
    return new, {
      f"calibration/{name}": jnp.stack([jnp.sum(x * ended), jnp.sum(ended, dtype=x.dtype)])
      for name, x in values.items()
    }


class Monitor(Protocol):
  """What is measured of every step of all environments on a device."""

  def __call__(self, params: Params, root: Root, decision: Decision, replay: Replay) -> Metrics:
    """Of the newest roots and decisions; `replay` ends with the steps before them."""
    ...


@dataclasses.dataclass(frozen=True)
class Skill:
  """Whether an action that the search prefers does better: of every step, once what followed it is
  complete.

  With x = Q(a) - V, what the search expected of the action taken, and y = return - V, what came of
  it, `search/skill` is the slope of y on x: 1 where Q is right, 0 where it is noise. Returns are
  those that the learner would see: n steps, lambda, recorded values.
  """

  ring: Ring
  returns: Returns

  def __call__(self, params: Params, root: Root, decision: Decision, replay: Replay) -> Metrics:
    """See `Monitor`. `derived` makes the slope's error of these."""
    del params, root, decision
    example, complete = self.ring.completed(replay)
    n, discount, td_lambda = self.returns.n_step, self.returns.discount, self.returns.td_lambda

    def follows(example: Example) -> Array:
      reward = jnp.sign(example.reward) if self.returns.clip_rewards else example.reward
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
    # Returns of neighboring steps share most of their rewards: one in so many steps is taken to be
    # independent.
    independent = counts.sum() / min(n, 1 / (1 - td_lambda * discount + 1e-6))
    return {
      "search/skill": jnp.stack([jnp.sum(x * y), jnp.sum(x * x)]),
      "search/skill_residual": jnp.stack([jnp.sum(y * y), jnp.sum(x * x)]),
      "search/advantage": jnp.stack([jnp.sum(jnp.abs(x)), counts.sum()]),
      "search/independent_steps": jnp.stack([independent, jnp.minimum(1.0, independent)]),
    }


@dataclasses.dataclass(frozen=True)
class Twins:
  """Whether Q tells actions apart that differ, more than actions that are the same to the game.

  `search/twins` is the mean squared difference of Q within classes of equivalent actions over that
  between classes' means: 0 where Q knows what actions do, about 1 or more where differences of Q
  are noise. Q is that of one step of the model, in the first few environments.
  """

  model: Model
  discount: float  # per agent step
  classes: tuple[tuple[int, ...], ...]
  roots: int = 4

  def __call__(self, params: Params, root: Root, decision: Decision, replay: Replay) -> Metrics:
    """See `Monitor`."""
    del decision, replay
    few = jax.tree.map(lambda x: x[: self.roots], root)
    q = look_ahead(self.model, self.discount, params, jax.random.key(0), few)
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


def derived(sums: Mapping[str, tuple[float, float]]) -> dict[str, float]:
  """What is computed of several sums of metrics at once, at the end: `search/skill_error`, the
  standard error of `search/skill`.
  """
  names = ("skill", "skill_residual", "independent_steps")
  (products, squares), (residuals, _), (steps, _) = (
    sums.get(f"search/{name}", (0.0, 0.0)) for name in names
  )
  if squares <= 0 or steps <= 0:
    return {}
  slope = products / squares
  return {"search/skill_error": math.sqrt(max(residuals / squares - slope**2, 0.0) / steps)}


def search_metrics(params: Params, root: Root, decision: Decision, replay: Replay) -> Metrics:
  """How the search changed the prior. Entropies in nats, depth in steps. A `Monitor`."""
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
