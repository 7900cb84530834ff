"""The learner: one gradient step, from sampling a batch to updating parameters and priorities.

`Learner.update` is that gradient step; `Learner.loss` and `Learner.unroll` are MuZero's loss.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

from muzero_jax.device import parallel
from muzero_jax.diagnostics import dead_units, unroll_errors
from muzero_jax.networks.flat import Layout, layout
from muzero_jax.networks.resets import Resets, key_of
from muzero_jax.replay.augmentation import augment
from muzero_jax.replay.frames import Priorities, Replay, Ring
from muzero_jax.replay.sampling import Sampler
from muzero_jax.replay.stacks import stacks
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
  T,
  Targets,
  Term,
)

# Metrics with this prefix are not averages: they describe the gradient step at which the learner
# stopped because it diverged. All other steps report zeros, so that sums over steps are this one's:
#   found, f32[4]: 1, and its loss, the norm of its gradient, and the largest absolute value of a
#     parameter after it, over all devices
#   terms, f32[T]: the sum of each loss term over the batch of this device
#   index, i32[N], and weight, f32[N]: those of the batch (`types.Sample`)
EVIDENCE = "stopped/"
RESETTING = "resetting"  # marks the operations of a reset in the compiled program
MEMORY = 0.995  # decay of the moving averages in `Statistics`, per gradient step


@dataclasses.dataclass(frozen=True)
class Learner:
  """Takes gradient steps. Each device samples its own batch; `mean` averages the gradients."""

  model: Model
  terms: dict[str, tuple[float, Term]]  # name -> weight, term
  optimizer: Callable[[Layout], optax.GradientTransformation]  # of all parameters as one vector
  ring: Ring
  sampler: Sampler
  targets: Callable[[Params, Key, Example], Targets]  # a `TargetMaker`, perhaps `Annealed`
  batch_size: int  # N, per device
  target_period: int = 200  # gradient steps between updates of the target network
  shift: int = 0  # largest random shift of training frames, in pixels; 0: no augmentation
  limit: float = jnp.inf  # a gradient step to parameters with a larger absolute value has diverged
  skips: int = 0  # gradient steps that may diverge before the learner stops
  resets: Resets | None = None
  by_products: bool = False  # see `augmentation.shift`
  mean: Callable = parallel.mean  # of a pytree over devices

  def init(self, key: Key) -> LearnerState:
    """Initial parameters of the model and of the loss terms, and the state of the optimizer."""
    params = self.new_params(key)
    place = layout(params)
    return LearnerState(
      params=params,
      # Copied, because the state is donated, and a buffer must not be donated twice.
      target_params=jax.tree.map(jnp.copy, params["model"]),
      opt_state=self.optimizer(place).init(place.flat(params)),
      step=jnp.zeros((), jnp.int32),
      statistics=no_statistics(),
      skipped=jnp.zeros((), jnp.int32),
    )

  def new_params(self, key: Key) -> Params:
    """Initial parameters of the model and of the loss terms."""
    keys = jax.random.split(key, len(self.terms) + 1)
    own = {
      name: term.init(k) for (name, (_, term)), k in zip(self.terms.items(), keys[1:], strict=True)
    }
    return {"model": self.model.init(keys[0]), **{name: p for name, p in own.items() if p}}

  def stopped(self, state: LearnerState) -> Array:
    """Whether more gradient steps have diverged than may be skipped, bool[]."""
    return state.skipped > self.skips

  def update(
    self, state: LearnerState, replay: Replay, key: Key
  ) -> tuple[LearnerState, Priorities, Metrics]:
    """Takes one gradient step.

    A step diverges if the loss or the gradient is not finite, or if a parameter would become larger
    than `limit`. Such a step changes nothing but the count `skipped`, and the priorities. Once the
    learner has stopped, no step changes anything.

    Returns:
      The new state, the new priorities (nothing else in the replay changes), and the metrics, with
      those of `EVIDENCE`.
    """
    place = layout(state.params)
    before, optimizer = place.flat(state.params), self.optimizer(place)
    sample_key, target_key, loss_key = jax.random.split(key, 3)
    sample = self.sampler.sample(self.ring, replay, sample_key, self.batch_size, state.step)
    targets = self.targets(state.target_variables, target_key, sample.example)
    gradient, (error, metrics) = jax.grad(self.loss, has_aux=True)(
      state.params, sample, targets, loss_key, state.step
    )
    gradient, batch, loss = self.mean(
      (place.flat(gradient), batch_statistics(sample, targets, error), metrics["loss/total"][0])
    )
    updates, opt_state = optimizer.update(gradient, state.opt_state, before)
    vector = before + updates
    params = place.tree(vector)
    step = state.step + 1
    # Not `optax.periodic_update`, whose branch XLA for GPUs surrounds with copies.
    due = step % self.target_period == 0
    target_params = chosen(due, params["model"], state.target_params)
    norm, largest = optax.global_norm(gradient), jnp.max(jnp.abs(vector))
    finite = jnp.isfinite(sum(jax.tree.leaves(batch), loss + norm))
    healthy = finite & (largest <= self.limit)  # False also if a parameter is NaN
    metrics |= {
      "learner/gradient_norm": one(norm),
      "replay/age": average(sample.example.age.astype(jnp.float32)),
      "replay/oldest": one(sample.example.age.max().astype(jnp.float32)),
      "learner/target_age": one((state.step % self.target_period).astype(jnp.float32)),
    }
    error = jnp.where(jnp.isfinite(error), error, 0.0)
    priorities = self.sampler.update(replay.priorities, sample, error)
    statistics = jax.tree.map(
      lambda mean, x: MEMORY * mean + (1 - MEMORY) * x, state.statistics, batch
    )
    metrics |= {
      "learner/return_error": one(statistics.error),
      "learner/skill": one(statistics.skill),
    }
    after = LearnerState(params, target_params, opt_state, step, statistics, state.skipped)
    after = self.reset(after, vector) if self.resets else after
    evidence = {
      f"{EVIDENCE}found": jnp.stack([jnp.ones(()), loss, norm, largest]),
      f"{EVIDENCE}terms": jnp.stack([metrics[f"loss/{name}"][0] for name in self.terms]),
      f"{EVIDENCE}index": sample.index,
      f"{EVIDENCE}weight": sample.weight,
    }
    state, metrics = self.accept(healthy, state, after, metrics, evidence)
    return state, priorities, metrics

  def reset(self, state: LearnerState, vector: Array) -> LearnerState:
    """Resets parameters, target network and the optimizer's moments, if that is due.

    Args:
      state: the state after a gradient step.
      vector: f32[size], its parameters.
    """
    resets = self.resets
    assert resets is not None

    def reset_once(_: Array, before: LearnerState) -> LearnerState:
      params = resets(before.params, self.new_params(key_of(vector, before.step)))
      opt_state = forget(before.opt_state)
      return dataclasses.replace(
        before, params=params, target_params=params["model"], opt_state=opt_state
      )

    # A loop, not a branch, as in `Loop.learn`.
    with jax.named_scope(RESETTING):
      return jax.lax.fori_loop(0, resets.due(state.step).astype(jnp.int32), reset_once, state)

  def accept(
    self,
    healthy: Array,
    before: LearnerState,
    after: LearnerState,
    metrics: Metrics,
    evidence: Metrics,
  ) -> tuple[LearnerState, Metrics]:
    """Takes a gradient step if it is healthy and the learner has not stopped.

    Args:
      healthy: bool[], whether the step has not diverged.
      before: the state before the step.
      after: the state after it.
      metrics: those of the step; zeros are reported if it is not taken.
      evidence: reported only at the step where the learner stops; zeros otherwise. See
        `EVIDENCE`.
    """
    running = ~self.stopped(before)
    taken, rejected = running & healthy, running & ~healthy
    state = chosen(taken, after, dataclasses.replace(before, skipped=before.skipped + rejected))
    metrics = chosen(taken, metrics, zeros(metrics))
    metrics |= {"learner/skipped": one(rejected.astype(jnp.float32))}
    return state, metrics | chosen(running & self.stopped(state), evidence, zeros(evidence))

  def loss(
    self, params: Params, sample: Sample, targets: Targets, key: Key, step: Array | int = 0
  ) -> tuple[Array, tuple[Array, Metrics]]:
    """The weighted sum of all loss terms, averaged over a batch with its importance weights.

    `step` is the number of gradient steps done, for terms with a schedule.

    Returns:
      The loss f32[]; and a pair of the absolute value error at the root, f32[N], and the metrics.
    """
    shift_key, action_key = jax.random.split(key)
    seen = later = sample.example
    if self.shift:
      # The consistency loss compares predictions from the root's frames with encodings of the later
      # frames: the two must not share one shift.
      seen, later = (
        augment(k, sample.example, self.shift, self.by_products)
        for k in jax.random.split(shift_key)
      )
    context = self.unroll(params, seen, targets, action_key)
    context = dataclasses.replace(context, example=later, step=jnp.asarray(step))
    losses = {name: term.loss(params, context) for name, (_, term) in self.terms.items()}
    check_losses(losses, sample)
    total = sum(weight * losses[name] for name, (weight, _) in self.terms.items())
    total = jnp.mean(sample.weight * total)
    error = jnp.abs(self.model.decode(context.value_logits[:, 0]) - targets.value[:, 0])
    metrics = {f"loss/{name}": average(loss) for name, loss in losses.items()}
    metrics |= {"loss/total": one(total), "learner/value_error": average(error)}
    metrics |= {
      "learner/dead_units": one(dead_units(self.model.core(context.hidden[:, 0]))),
      **unroll_errors(self.model, context),
    }
    return total, (jax.lax.stop_gradient(error), jax.lax.stop_gradient(metrics))

  def unroll(self, params: Params, example: Example, targets: Targets, key: Key) -> Context:
    """Encodes the root of each example and unrolls the model along the recorded actions.

    Where the policy mask is 0, the actions are random: in an absorbing state none has an effect.
    """
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
  """Checks, while tracing, that every loss term is f32[N]: another shape would broadcast silently.

  Raises:
    AssertionError: a term has another shape or dtype.
  """
  for name, loss in losses.items():
    chex.assert_shape(loss, sample.weight.shape, custom_message=f"of the loss term {name}")
    chex.assert_type(loss, jnp.float32, custom_message=f"of the loss term {name}")


def no_statistics() -> Statistics:
  """`Statistics` before the first gradient step."""
  return Statistics(*jnp.zeros((len(dataclasses.fields(Statistics)),)))


def batch_statistics(sample: Sample, targets: Targets, error: Array) -> Statistics:
  """The `Statistics` of one batch.

  Args:
    sample: the batch.
    targets: its targets.
    error: f32[N], |return - value| at the root, with the value predicted now.
  """
  example = sample.example
  follows = targets.value[:, 0] - example.value[:, 0]
  return Statistics(
    weight=jnp.ones(()),
    errors=jnp.mean(jnp.square(error)),
    squares=jnp.mean(jnp.square(example.advantage)),
    products=jnp.mean(example.advantage * follows),
  )


def forget(state: T) -> T:
  """The state of an optimizer with Adam's moments and their count reset to zero.

  The schedule of the learning rate is not reset.
  """

  def is_adam(x: Any) -> bool:
    return isinstance(x, optax.ScaleByAdamState)

  return jax.tree.map(lambda x: zeros(x) if is_adam(x) else x, state, is_leaf=is_adam)


def chosen(first: Array, one: T, other: T) -> T:
  """`jnp.where(first, one, other)` of two pytrees; `first` is bool[]."""
  return jax.tree.map(lambda a, b: jnp.where(first, a, b), one, other)


def zeros(tree: T) -> T:
  """A pytree of zeros with the shapes of `tree`."""
  return jax.tree.map(jnp.zeros_like, tree)


def halve_gradient(x: Array) -> Array:
  """Returns x, and halves the gradient that flows back through it (MuZero, appendix G)."""
  return x / 2 + jax.lax.stop_gradient(x / 2)


def one(value: Array) -> Array:
  """The metric (see `types.Metrics`) of a single value f32[]: f32[2]."""
  return jnp.stack([value, jnp.ones_like(value)])


def average(values: Array) -> Array:
  """The metric (see `types.Metrics`) that averages all entries of f32[...]: f32[2]."""
  return jnp.stack([values.sum(), jnp.float32(values.size)])
