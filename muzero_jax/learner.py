"""The learner: sample, make targets, unroll, sum the losses, take a gradient step."""

import dataclasses
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp
import optax

from muzero_jax.device import parallel
from muzero_jax.diagnostics import dead_units, unroll_errors
from muzero_jax.replay.augmentation import augment
from muzero_jax.replay.frames import Priorities, Replay, Ring, stacks
from muzero_jax.replay.sampling import Sampler
from muzero_jax.targets.maker import TargetMaker
from muzero_jax.types import (
  Array,
  Context,
  Example,
  Key,
  LearnerState,
  Metrics,
  Model,
  Params,
  Sample,
  Statistics,
  Targets,
  Term,
)


@dataclasses.dataclass(frozen=True)
class Learner:
  """One gradient step at a time on one device's batch; with `mean`, on all devices'."""

  model: Model
  terms: dict[str, tuple[float, Term]]  # name -> weight, term
  optimizer: optax.GradientTransformation
  ring: Ring
  sampler: Sampler
  targets: TargetMaker
  batch_size: int  # N, per device
  target_period: int = 200  # gradient steps between copies to the target network
  shift: int = 0  # pixels of shift augmentation; 0 is none
  mean: Callable = parallel.mean  # of gradients over devices

  def init(self, key: Key) -> LearnerState:
    """The start of learning."""
    keys = jax.random.split(key, len(self.terms) + 1)
    own = {
      name: term.init(k) for (name, (_, term)), k in zip(self.terms.items(), keys[1:], strict=True)
    }
    params = {"model": self.model.init(keys[0]), **{name: p for name, p in own.items() if p}}
    return LearnerState(
      params=params,
      # A copy: arrays that are donated must not be shared.
      target_params=jax.tree.map(jnp.copy, params["model"]),
      opt_state=self.optimizer.init(params),
      step=jnp.zeros((), jnp.int32),
      statistics=no_statistics(),
    )

  def update(
    self, state: LearnerState, replay: Replay, key: Key
  ) -> tuple[LearnerState, Priorities, Metrics]:
    """One gradient step. Of the replay only the priorities change."""
    sample_key, target_key, loss_key = jax.random.split(key, 3)
    sample = self.sampler.sample(self.ring, replay, sample_key, self.batch_size, state.step)
    targets = self.targets(state.target_variables, target_key, sample.example)
    gradient, (error, metrics) = jax.grad(self.loss, has_aux=True)(
      state.params, sample, targets, loss_key
    )
    gradient, new = self.mean((gradient, batch_statistics(sample, targets, error)))
    updates, opt_state = self.optimizer.update(gradient, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    step = state.step + 1
    old = state.target_params
    target_params = optax.periodic_update(params["model"], old, step, self.target_period)
    metrics |= {
      "learner/gradient_norm": one(optax.global_norm(gradient)),
      "replay/age": average(sample.example.age.astype(jnp.float32)),
      "replay/oldest": one(sample.example.age.max().astype(jnp.float32)),
      "learner/target_age": one((state.step % self.target_period).astype(jnp.float32)),
    }
    priorities = self.sampler.update(replay.priorities, sample, error)
    statistics = jax.tree.map(lambda old, x: MEMORY * old + (1 - MEMORY) * x, state.statistics, new)
    metrics |= {
      "learner/return_error": one(statistics.error),
      "learner/skill": one(statistics.skill),
    }
    return LearnerState(params, target_params, opt_state, step, statistics), priorities, metrics

  def loss(
    self, params: Params, sample: Sample, targets: Targets, key: Key
  ) -> tuple[Array, tuple[Array, Metrics]]:
    """The weighted sum of all terms over a batch.

    Returns:
      f32[], and the root's |value error| f32[N] with the metrics.
    """
    shift_key, action_key = jax.random.split(key)
    seen = later = sample.example
    if self.shift:
      # The root's stack and the later frames have shifts of their own: what the consistency loss
      # compares must not share one.
      seen, later = (augment(k, sample.example, self.shift) for k in jax.random.split(shift_key))
    context = dataclasses.replace(self.unroll(params, seen, targets, action_key), example=later)
    losses = {name: term.loss(params, context) for name, (_, term) in self.terms.items()}
    check_losses(losses, sample)
    total = sum(weight * losses[name] for name, (weight, _) in self.terms.items())
    total = jnp.mean(sample.weight * total)
    error = jnp.abs(self.model.decode(context.value_logits[:, 0]) - targets.value[:, 0])
    metrics = {f"loss/{name}": average(loss) for name, loss in losses.items()}
    metrics |= {"loss/total": one(total), "learner/value_error": average(error)}
    metrics |= {
      "learner/dead_units": one(dead_units(context.hidden[:, 0])),
      **unroll_errors(self.model, context),
    }
    return total, (jax.lax.stop_gradient(error), jax.lax.stop_gradient(metrics))

  def unroll(self, params: Params, example: Example, targets: Targets, key: Key) -> Context:
    """Encodes the examples' first steps and follows their actions; behind the end, random ones."""
    model, steps = self.model, targets.reward.shape[1]
    root = model.encode(params["model"], stacks(example, jnp.zeros(1, jnp.int32), self.ring.stack))
    size, num_actions = example.action.shape[0], example.policy.shape[-1]
    random = jax.random.randint(key, (size, steps), 0, num_actions, jnp.int32)
    actions = jnp.where(targets.policy_mask[:, :-1] > 0, example.action[:, :steps], random)

    def step(hidden: Array, action: Array) -> tuple[Array, tuple[Array, Array]]:
      hidden, reward_logits = model.step(params["model"], halve_gradient(hidden), action)
      return hidden, (hidden, reward_logits)

    _, (later, reward_logits) = jax.lax.scan(step, root, actions.T)
    hidden = jnp.swapaxes(jnp.concatenate([root[None], later]), 0, 1)
    logits = model.predict(params["model"], hidden.reshape(-1, *hidden.shape[2:]))
    policy_logits, value_logits = (x.reshape(size, steps + 1, -1) for x in logits)
    return Context(
      example, targets, hidden, policy_logits, value_logits, jnp.swapaxes(reward_logits, 0, 1)
    )


def check_losses(losses: dict[str, Array], sample: Sample) -> None:
  """Sees, while tracing, that every term gives f32[N]: in their sum another shape would broadcast.

  Raises:
    AssertionError: one does not.
  """
  for name, loss in losses.items():
    chex.assert_shape(loss, sample.weight.shape, custom_message=f"of the loss term {name}")
    chex.assert_type(loss, jnp.float32, custom_message=f"of the loss term {name}")


MEMORY = 0.995  # of `Statistics`, per gradient step


def no_statistics() -> Statistics:
  """Before anything was learned from."""
  return Statistics(*jnp.zeros((len(dataclasses.fields(Statistics)),)))


def batch_statistics(sample: Sample, targets: Targets, error: Array) -> Statistics:
  """Of one batch: means over examples; `error` f32[N] is the root's |return - value|."""
  example = sample.example
  follows = targets.value[:, 0] - example.value[:, 0]
  return Statistics(
    weight=jnp.ones(()),
    errors=jnp.mean(jnp.square(error)),
    squares=jnp.mean(jnp.square(example.advantage)),
    products=jnp.mean(example.advantage * follows),
  )


def halve_gradient(x: Array) -> Array:
  """x, through which half of the gradient flows back (MuZero, appendix G)."""
  return x / 2 + jax.lax.stop_gradient(x / 2)


def one(value: Array) -> Array:
  """A metric seen once: f32[2]."""
  return jnp.stack([value, jnp.ones_like(value)])


def average(values: Array) -> Array:
  """A metric seen in every entry of f32[...]: f32[2]."""
  return jnp.stack([values.sum(), jnp.float32(values.size)])
