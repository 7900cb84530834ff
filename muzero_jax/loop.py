"""The training loop as one compiled program: act, store in the replay, learn.

Start reading here: `Loop.tick` shows the whole algorithm. A tick is one agent step in every
environment, and the gradient steps due at that step.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from muzero_jax import actor
from muzero_jax.actor import ActorState
from muzero_jax.device import ordering
from muzero_jax.diagnostics import Calibration, Monitor
from muzero_jax.envs.base import Environment, check_step
from muzero_jax.learner import Learner
from muzero_jax.networks.model import initial_inference
from muzero_jax.replay.frames import Priorities, Replay, Ring
from muzero_jax.search.base import Search
from muzero_jax.types import Array, Key, LearnerState, Metrics, Model, record

LEARNING = "learning"  # marks the learner's operations in the compiled program


@record
class Shared:
  """The part of the loop's state that is replicated: identical on all devices."""

  learner: LearnerState
  ticks: Array  # i32   ticks done, which are the agent steps done in each environment


@record
class Local:
  """The part of the loop's state that differs between devices."""

  actor: ActorState
  replay: Replay
  key: Key
  # f32[]   computed by the last gradient step; the next `recv` depends on it, and so runs after the
  # learner
  learned: Array


@dataclasses.dataclass(frozen=True)
class Loop:
  """The components of a run, and the program they make: `run_ticks` is what is compiled."""

  environment: Environment
  model: Model
  search: Search
  ring: Ring
  learner: Learner
  calibration: Calibration
  # `--learner.updates_per_step`, times the environments, as a fraction updates / every.
  updates: int = 1  # gradient steps of a tick that has any; 0: the learner is not compiled
  every: int = 1  # gradient steps are taken every so many ticks
  warmup: int = 0  # gradient steps are taken once the replay has more rows than this
  monitors: tuple[Monitor, ...] = ()

  def tick(self, shared: Shared, local: Local) -> tuple[Shared, Local, Metrics]:
    """One tick: store the newest step, act in every environment, learn while the emulators step."""
    key, search_key, learn_key = jax.random.split(local.key, 3)
    state, variables = local.actor, shared.learner.variables
    env, timestep = self.environment.recv(state.env, after=local.learned)  # wait for the emulators
    check_step(self.environment.spec, timestep)
    # The timestep, and the decision that led to it.
    replay = self.ring.add(local.replay, state.decision, timestep, shared.learner.step)
    root = initial_inference(self.model, variables, self.ring.recent(replay))
    decision = self.search(variables, search_key, root)
    env = self.environment.send(env, decision.action)  # the emulators start to step
    # `never` is always False: it makes the learner depend on `send`, so that `send` comes first.
    due = (replay.head > self.warmup) & (shared.ticks % self.every == 0) & ~ordering.never(env)
    with jax.named_scope(LEARNING):  # the device learns while the emulators step
      learner, priorities, learned, metrics = self.learn(due, shared.learner, replay, learn_key)

    episodes = actor.count(state.episodes, timestep)
    pending, calibration = self.calibration.step(state.probe, timestep, decision)
    metrics |= actor.episode_metrics(episodes, timestep) | calibration
    for monitor in self.monitors:
      metrics |= monitor(variables, root, decision, replay)
    replay = dataclasses.replace(replay, priorities=priorities)
    return (
      Shared(learner, shared.ticks + 1),
      Local(ActorState(env, decision, episodes, pending), replay, key, learned),
      metrics,
    )

  def learn(
    self, due: Array, state: LearnerState, replay: Replay, key: Key
  ) -> tuple[LearnerState, Priorities, Array, Metrics]:
    """Takes `updates` gradient steps if `due` (bool[]), else none.

    Only the priorities of the replay may change. The rest of it is not carried through the loop:
    XLA would copy the frames.

    Returns:
      The learner's state, the priorities, the sum of the gradients' norms f32[], and the metrics.
    """
    if not self.updates:
      return state, replay.priorities, jnp.zeros(()), {}

    keys = jax.random.split(key, self.updates)
    update, nothing = traced_once(self.learner.update, state, replay, key)

    def step(number: Array, carry: tuple[LearnerState, Priorities, Metrics]):
      state, priorities, total = carry
      drawn_from = dataclasses.replace(replay, priorities=priorities)
      state, priorities, metrics = update(state, drawn_from, keys[number])
      return state, priorities, jax.tree.map(jnp.add, total, metrics)

    # A loop of 0 or `updates` rounds, not a branch: around a branch XLA for GPUs copies every array
    # of the state, also if no gradient step is taken.
    count = jnp.where(due, self.updates, 0)
    carry = state, replay.priorities, nothing
    state, priorities, metrics = jax.lax.fori_loop(0, count, step, carry)
    return state, priorities, metrics["learner/gradient_norm"][0], metrics

  def run_ticks(self, shared: Shared, local: Local, ticks: Array) -> tuple[Shared, Local, Metrics]:
    """Runs `ticks` ticks and sums up their metrics; fewer if the learner stops.

    `ticks`, i32[], is traced: one compilation serves every number of ticks.
    """
    end = shared.ticks + ticks

    def goes_on(shared: Shared) -> Array:
      return (shared.ticks < end) & ~self.learner.stopped(shared.learner)

    return repeat(self.tick, goes_on, shared, local)

  def run_seeds(self, shared: Shared, local: Local, ticks: Array) -> tuple[Shared, Local, Metrics]:
    """`run_ticks` for runs that differ in their seed only, along a leading axis of all arrays.

    They do their ticks together, and all stop if one learner does. Environments must be in JAX.
    """
    end = shared.ticks[0] + ticks

    def goes_on(shared: Shared) -> Array:
      return (shared.ticks[0] < end) & ~jax.vmap(self.learner.stopped)(shared.learner).any()

    return repeat(jax.vmap(self.tick), goes_on, shared, local)


def repeat(
  tick: Callable[[Shared, Local], tuple[Shared, Local, Metrics]],
  goes_on: Callable[[Shared], Array],
  shared: Shared,
  local: Local,
) -> tuple[Shared, Local, Metrics]:
  """Calls `tick` while `goes_on` (bool[]), and sums up its metrics."""
  tick, nothing = traced_once(tick, shared, local)

  def body(carry):
    shared, local, metrics = carry
    shared, local, new = tick(shared, local)
    return shared, local, jax.tree.map(jnp.add, metrics, new)

  return jax.lax.while_loop(lambda carry: goes_on(carry[0]), body, (shared, local, nothing))


def traced_once(function: Callable, *arguments: Any) -> tuple[Callable, Metrics]:
  """Prepares `function` for a loop that sums its metrics, the last one of its results.

  Returns:
    `function`, which JAX does not trace again for arguments of the same shapes and dtypes, though
    it is traced here for the shapes of the metrics; and zeros with those shapes.
  """
  function = jax.jit(function, inline=True)
  *_, metrics = jax.eval_shape(function, *arguments)
  return function, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), metrics)
