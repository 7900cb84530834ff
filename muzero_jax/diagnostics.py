"""What explains a run that does not learn: errors by unroll step, dead units, values against the returns that followed."""

import dataclasses

import jax
import jax.numpy as jnp

from muzero_jax.types import Array, Context, Decision, Metrics, Model, Root, TimeStep, record

SAME = 1e-3  # a latent unit that moves less than this over a batch tells nothing
REMAINDER = 0.05  # a probe ends when what lies ahead weighs less than this


def unroll_errors(model: Model, context: Context) -> Metrics:
  """Mean absolute errors, in units of reward: of values at unroll steps 0 .. k, of rewards at 1 .. k."""
  targets = context.targets
  value = jnp.abs(model.decode(context.value_logits) - targets.value) * targets.known
  reward = jnp.abs(model.decode(context.reward_logits) - targets.reward) * targets.known[:, 1:]
  sums = {f"unroll/value_error_{i}": (value[:, i], targets.known[:, i]) for i in range(value.shape[1])}
  sums |= {f"unroll/reward_error_{i + 1}": (reward[:, i], targets.known[:, i + 1]) for i in range(reward.shape[1])}
  return {name: jnp.stack([error.sum(), known.sum()]) for name, (error, known) in sums.items()}


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

  One probe at a time per game: it ends with the return, or when what lies ahead hardly counts and is taken from the value then. One
  that an episode's time limit cuts off is dropped.
  """

  gamma: float  # per agent step
  clip: bool = True  # values are of rewards' signs

  def step(self, probe: Probe, time: TimeStep, decision: Decision) -> tuple[Probe, Metrics]:
    """Adds the newest step and the decision in it.

    Returns:
      The probes, and of those that ended the mean value, return, and absolute difference.
    """
    running = probe.weight >= 0
    reward = jnp.sign(time.reward) if self.clip else time.reward
    total = probe.total + probe.weight * reward
    weight = probe.weight * self.gamma * time.discount
    ended = running & (weight < REMAINDER) & ~(time.last & (weight > 0))
    result = total + weight * decision.value
    begins = (ended | ~running) & ~time.last
    new = Probe(
      value=jnp.where(begins, decision.value, probe.value),
      total=jnp.where(begins, 0.0, total),
      weight=jnp.where(begins, 1.0, jnp.where(time.last, -1.0, weight)),
    )
    values = {"value": probe.value, "return": result, "error": jnp.abs(probe.value - result)}
    return new, {f"calibration/{name}": jnp.stack([jnp.sum(x * ended), jnp.sum(ended, dtype=x.dtype)]) for name, x in values.items()}


def search_metrics(root: Root, decision: Decision) -> Metrics:
  """How the search changed the prior. Entropies in nats, depth in steps."""
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
