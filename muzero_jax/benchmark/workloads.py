"""Compiles each part of a run as a separate program, which `launch.benchmark` times.

A tick is one agent step in every environment, with the gradient steps that are due.
"""

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax import build
from muzero_jax.benchmark.stubs import Fixed, Still, free_model, without_tree
from muzero_jax.build import Experiment
from muzero_jax.config import replace
from muzero_jax.device import ordering, parallel
from muzero_jax.envs.envpool import EnvPool
from muzero_jax.loop import Local, Loop, Shared
from muzero_jax.networks.model import initial_inference
from muzero_jax.replay.frames import Replay
from muzero_jax.search.random import Random
from muzero_jax.types import Array, Key, Root, Sample, record


class Work(NamedTuple):
  """The program of a part, ready to be timed. One call of `run` does `Parts.ticks` ticks."""

  run: Callable[[], Any]  # does the work and returns arrays to wait for
  before: Callable[[], Any] = lambda: None  # called, and waited for, before the timing
  compiled: Any = None  # JAX's compiled program, where there is one
  compile_seconds: float = 0.0


@record
class Frozen:
  """The constant inputs of the parts that have neither replay nor environment."""

  batch: Sample
  stacks: Array  # [B, S, *frame_shape]
  origin: Root  # the search's root for these stacks
  key: Key


@dataclasses.dataclass(frozen=True)
class Parts:
  """The parts of a run as separate programs.

  Args:
    run: the run.
    ticks: ticks that one call of each program does. It should be a multiple of `run.loop.every`, so
      that there are as many gradient steps per tick as in the loop.
  """

  run: Experiment
  ticks: int

  def emulators(self) -> Work | None:
    """EnvPool alone, stepped from Python with random actions.

    There is one pool with the environments and threads of all devices.

    Returns:
      None for pure-JAX environments.
    """
    run = self.run
    config = replace(run.config, {"env.num_threads": run.config.env.num_threads * run.devices.size})
    games = build.make_environment(config, num_pools=1, seed=1, num_envs=run.width)
    if not isinstance(games, EnvPool):
      return None
    pool = games.pools[0]
    actions = (
      np.random.default_rng(0)
      .integers(0, games.spec.num_actions, (self.ticks, run.width))
      .astype(np.int32)
    )
    ids = np.arange(run.width, dtype=np.int32)
    pool.async_reset()
    pool.recv()

    def work() -> None:
      for action in actions:
        pool._send([ids, ids, action])
        pool._recv()

    return Work(work)

  def environment(self) -> Work:
    """The compiled loop with random actions, without network and learner.

    It steps the environments through `send` and `recv`, stores frames in the replay and stacks
    them.
    """
    num_actions = self.run.loop.environment.spec.num_actions

    def look(params, frames):
      pixel = frames.reshape(frames.shape[0], -1)[:, :1].astype(jnp.float32)
      return ordering.after(pixel, frames)  # depends on all frames, so that they are computed

    def predict(params, hidden):
      return jnp.broadcast_to(hidden, (hidden.shape[0], num_actions)), jnp.zeros(
        (hidden.shape[0], 1)
      )

    model = self.run.loop.model._replace(
      encode=look, predict=predict, decode=lambda logits: logits[:, 0]
    )
    # Monitors may call the model, and this one has no dynamics.
    bare = dataclasses.replace(self.run.loop, model=model, search=Random(), updates=0, monitors=())
    return self._looped(bare)

  def loop(self) -> Work:
    """The training loop as it is, except that gradient steps begin with the first tick."""
    return self._looped(self._learning)

  def without_emulators(self) -> Work:
    """The training loop with an environment of negligible cost."""
    return self._looped(
      dataclasses.replace(self._learning, environment=Still(self.run.loop.environment.spec))
    )

  def network(self) -> Work:
    """The network alone: the same encodings, model steps and gradient steps as in the loop.

    There is no search tree, no replay and no environment.
    """
    run, search = self.run, without_tree(self.run.loop.search)
    learner = build.make_learner(run.config, run.loop.model, search, run.loop.ring)
    return self._still(dataclasses.replace(run.loop, search=search, learner=learner))

  def search(self) -> Work:
    """Acting alone: encodes the frames of all environments and searches from these roots."""
    return self._still(self.run.loop, learn=False)

  def search_network(self) -> Work:
    """`search` without the tree: the same encodings and the same number of model steps."""
    return self._still(
      dataclasses.replace(self.run.loop, search=without_tree(self.run.loop.search)), learn=False
    )

  def tree(self) -> Work | None:
    """`search` without the network: its cost is that of tree operations.

    Returns:
      None when the search has no tree.
    """
    search: Any = self.run.loop.search
    if not search.simulations:
      return None
    free = dataclasses.replace(
      search, model=free_model(search.model, self.run.loop.environment.spec.num_actions)
    )
    return self._still(dataclasses.replace(self.run.loop, search=free), learn=False, encode=False)

  def learner(self) -> Work | None:
    """The gradient steps, with targets and metrics, on a constant batch.

    Returns:
      None when the run has no gradient steps.
    """
    return self._still(self.run.loop, act=False) if self.run.loop.updates else None

  def replay(self) -> Work:
    """The replay alone.

    It stores a step of every environment, stacks the newest frames, samples the batches of the
    gradient steps, and updates priorities.
    """
    run, loop, ring = self.run, self.run.loop, self.run.loop.ring
    source = Still(loop.environment.spec)
    sampler, size = loop.learner.sampler, loop.learner.batch_size

    def tick(i: Array, local: Local) -> Local:
      state, now = source.recv(local.actor.env, after=local.learned)
      memory = ring.add(local.replay, local.actor.decision, now, i)
      state = source.send(state, read(ring.recent(memory)).astype(jnp.int32))
      key = jax.random.fold_in(local.key, i)

      def draw(j, carry):
        priorities, _ = carry
        batch = sampler.sample(
          ring,
          dataclasses.replace(memory, priorities=priorities),
          jax.random.fold_in(key, j),
          size,
          i,
        )
        found = batch.weight + read(batch)
        return sampler.update(priorities, batch, found), found[0]

      def draws(priorities):
        return jax.lax.fori_loop(0, loop.updates, draw, (priorities, jnp.float32(0)))

      priorities, learned = jax.lax.cond(
        turn(loop, i), draws, lambda priorities: (priorities, jnp.float32(0)), memory.priorities
      )
      actor, memory = (
        dataclasses.replace(local.actor, env=state),
        dataclasses.replace(memory, priorities=priorities),
      )
      return dataclasses.replace(local, actor=actor, replay=memory, learned=learned)

    def program(shared: Shared, local: Local, count: Array):
      local = jax.lax.fori_loop(0, count, tick, local)
      return shared, local, local.learned

    fake = dataclasses.replace(run, loop=dataclasses.replace(loop, environment=source))
    return self._going_on(program, [run.shared(), filled(fake)])

  @property
  def _learning(self) -> Loop:
    """The loop with the shortest possible warm-up: until the first example is complete."""
    ring = self.run.loop.ring
    return dataclasses.replace(self.run.loop, warmup=ring.smallest(ring.stack, ring.window))

  def _looped(self, tested: Loop) -> Work:
    """The program of a loop that has passed its warm-up."""
    run = dataclasses.replace(self.run, loop=tested)
    return self._going_on(tested.run, [run.shared(), run.local()], warmup=tested.warmup + 1)

  def _going_on(self, program: Callable, state: list, warmup: int = 1) -> Work:
    """Makes a workload of which each call continues from the state that the call before left.

    When a call returns, emulators are still working on the step that was sent last. One tick right
    before the timing starts makes them just as busy at the start, so the two effects cancel.

    Args:
      program: a function for `parallel.pmapped`.
      state: its shared and local arguments, which are donated.
      warmup: ticks to do before the first measurement.
    """
    begun = time.perf_counter()
    compiled = (
      parallel.pmapped(program, self.run.devices, donate=(0, 1))
      .lower(*state, np.int32(0))
      .compile()
    )
    seconds = time.perf_counter() - begun

    def call(count: int) -> Any:
      *state[:], done = compiled(*state, np.int32(count))
      return done

    jax.block_until_ready(call(warmup))
    return Work(lambda: call(self.ticks), lambda: call(1), compiled, seconds)

  def _still(
    self, tested: Loop, *, act: bool = True, learn: bool = True, encode: bool = True
  ) -> Work:
    """Makes a workload of a loop without replay and environment, on constant stacks and batches.

    Args:
      tested: the loop whose model, search and learner are used.
      act: whether to search in every tick.
      learn: whether to do gradient steps, as often as the loop does.
      encode: whether to encode the roots of the search in every tick.
    """
    absent: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(Replay))
    nothing = Replay(**absent)

    def program(shared: Shared, frozen: Frozen, count: Array):
      loop = dataclasses.replace(
        tested, learner=dataclasses.replace(tested.learner, sampler=Fixed(frozen.batch))
      )

      def tick(i: Array, carry: tuple[Any, Array]) -> tuple[Any, Array]:
        (state, done), params = carry, carry[0].variables
        act_key, learn_key = jax.random.split(jax.random.fold_in(frozen.key, i))
        if act:
          if encode:
            origin = initial_inference(tested.model, params, ordering.after(frozen.stacks, done))
          else:
            origin = jax.tree.map(lambda x: ordering.after(x, done), frozen.origin)
          done = read(tested.search(params, act_key, origin))
        if learn:
          due = turn(loop, i) & (done < 1)
          state, _, norm, metrics = loop.learn(due, state, nothing, learn_key)
          done = read((done, norm, {} if act else metrics))
        return state, done

      state, done = jax.lax.fori_loop(0, count, tick, (shared.learner, jnp.float32(0)))
      return dataclasses.replace(shared, learner=state), frozen.key, done

    shared = self.run.shared()
    compiled = (
      parallel.pmapped(program, self.run.devices).lower(shared, self.frozen, np.int32(0)).compile()
    )
    return Work(lambda: compiled(shared, self.frozen, np.int32(self.ticks))[2])

  @functools.cached_property
  def frozen(self) -> Frozen:
    """Constant inputs, from random play."""
    learner, model = self.run.loop.learner, self.run.loop.model

    def program(shared: Shared, local: Local, count: Array):
      batch = learner.sampler.sample(
        learner.ring, local.replay, local.key, learner.batch_size, count
      )
      stacks = learner.ring.recent(local.replay)
      return (
        shared,
        local.key,
        Frozen(
          batch, stacks, initial_inference(model, shared.learner.variables, stacks), local.key
        ),
      )

    return jax.block_until_ready(
      parallel.pmapped(program, self.run.devices)(self.run.shared(), filled(self.run), np.int32(0))[
        2
      ]
    )


def turn(loop: Loop, tick: Array) -> Array:
  """Whether gradient steps are due in a tick, bool[]."""
  return tick % loop.every == loop.every - 1


def read(tree: Any) -> Array:
  """0.0, but such that the compiler must compute every array of the pytree in full."""
  arrays = [x.astype(jnp.int32) if x.dtype == bool else x for x in jax.tree.leaves(tree)]
  return sum((ordering.never(x).astype(jnp.float32) for x in arrays), jnp.float32(0))


def filled(run: Experiment) -> Local:
  """The local state after some random play: environments, and a replay with examples."""
  fill = dataclasses.replace(run.loop, search=Random(), updates=0)
  count = max(64, 2 * run.loop.ring.smallest(run.loop.ring.stack, run.loop.ring.window))
  return jax.block_until_ready(
    parallel.pmapped(fill.run, run.devices, donate=(1,))(
      run.shared(), run.local(), np.int32(count)
    )[1]
  )
