"""The loop: one program that plays, remembers and learns. `tick` is all of it."""

import dataclasses

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


@record
class Shared:
  """The same on all devices."""

  learner: LearnerState
  ticks: Array  # i32   ticks done: agent steps of each environment


@record
class Local:
  """Each device's own."""

  actor: ActorState
  replay: Replay
  key: Key
  learned: (
    Array  # f32[]   comes with the last gradient step: what waits for it waits for the learner
  )


@dataclasses.dataclass(frozen=True)
class Loop:
  """Plays with every environment, and learns while the emulators step."""

  environment: Environment
  model: Model
  search: Search
  ring: Ring
  learner: Learner
  calibration: Calibration
  updates: int = 1  # gradient steps each time the learner is due; 0: it never is, and is not built
  every: int = 1  # ticks between those times
  warmup: int = 0  # rows in the replay before the first
  monitors: tuple[Monitor, ...] = ()

  def tick(self, shared: Shared, local: Local) -> tuple[Shared, Local, Metrics]:
    """Remember what happened, act once in every environment, learn while the emulators step."""
    key, search_key, learn_key = jax.random.split(local.key, 3)
    state, params = local.actor, shared.learner.variables
    env, time = self.environment.recv(state.env, after=local.learned)  # the emulators are done
    check_step(self.environment.spec, time)
    replay = self.ring.add(local.replay, state.decision, time, shared.learner.step)
    origin = initial_inference(self.model, params, self.ring.recent(replay))
    decision = self.search(params, search_key, origin)
    env = self.environment.send(env, decision.action)  # the emulators start
    due = (replay.head > self.warmup) & (shared.ticks % self.every == 0) & ~ordering.never(env)
    learner, priorities, learned, metrics = self.learn(
      due, shared.learner, replay, learn_key
    )  # the device is busy

    episodes = actor.count(state.episodes, time)
    probe, calibration = self.calibration.step(state.probe, time, decision)
    metrics |= actor.episode_metrics(episodes, time) | calibration
    for monitor in self.monitors:
      metrics |= monitor(params, origin, decision, replay)
    replay = dataclasses.replace(replay, priorities=priorities)
    return (
      Shared(learner, shared.ticks + 1),
      Local(ActorState(env, decision, episodes, probe), replay, key, learned),
      metrics,
    )

  def learn(
    self, due: Array, state: LearnerState, replay: Replay, key: Key
  ) -> tuple[LearnerState, Priorities, Array, Metrics]:
    """`updates` gradient steps if `due`. The replay is only read; its frames do not pass through
    the branches, or XLA copies them.
    """
    if not self.updates:
      return state, replay.priorities, jnp.zeros(()), {}

    def step(carry: tuple[LearnerState, Priorities], key: Key):
      state, priorities = carry
      state, priorities, metrics = self.learner.update(
        state, dataclasses.replace(replay, priorities=priorities), key
      )
      return (state, priorities), metrics

    def steps(carry):
      carry, metrics = jax.lax.scan(step, carry, jax.random.split(key, self.updates))
      return carry, jax.tree.map(lambda x: x.sum(0), metrics)

    def skip(carry):
      _, metrics = jax.eval_shape(steps, carry)
      return carry, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), metrics)

    (state, priorities), metrics = jax.lax.cond(due, steps, skip, (state, replay.priorities))
    return state, priorities, metrics["learner/gradient_norm"][0], metrics

  def run(self, shared: Shared, local: Local, ticks: Array) -> tuple[Shared, Local, Metrics]:
    """`ticks` (i32[], traced: any number with one compilation) ticks, with the sums of their
    metrics.
    """
    _, _, metrics = jax.eval_shape(self.tick, shared, local)
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), metrics)

    def body(_, carry):
      shared, local, metrics = carry
      shared, local, new = self.tick(shared, local)
      return shared, local, jax.tree.map(jnp.add, metrics, new)

    return jax.lax.fori_loop(0, ticks, body, (shared, local, nothing))
