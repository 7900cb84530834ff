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
from muzero_jax.benchmark import programs
from muzero_jax.benchmark.stubs import FreeEnvironment, without_network, without_tree
from muzero_jax.build import Run
from muzero_jax.config import replace
from muzero_jax.device import ordering, parallel
from muzero_jax.envs.envpool import EnvPool
from muzero_jax.loop import Loop
from muzero_jax.search.random import Random


class Work(NamedTuple):
  """The program of a part, ready to be timed. One call of `execute` does `Parts.ticks` ticks."""

  execute: Callable[[], Any]  # does the work and returns arrays to wait for
  before: Callable[[], Any] = lambda: None  # called, and waited for, before the timing
  compiled: Any = None  # JAX's compiled program, where there is one
  compile_seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Parts:
  """The parts of a run as separate programs.

  Args:
    run: the run.
    ticks: ticks that one call of each program does. It should be a multiple of `run.loop.every`, so
      that there are as many gradient steps per tick as in the loop.
  """

  run: Run
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
      dataclasses.replace(
        self._learning, environment=FreeEnvironment(self.run.loop.environment.spec)
      )
    )

  def network(self) -> Work:
    """The network alone: the same encodings, model steps and gradient steps as in the loop.

    There is no search tree, no replay and no environment.
    """
    run, search = self.run, without_tree(self.run.loop.search)
    learner = build.make_learner(run.config, run.loop.model, search, run.loop.ring)
    return self._on_constants(dataclasses.replace(run.loop, search=search, learner=learner))

  def search(self) -> Work:
    """Acting alone: encodes the frames of all environments and searches from these roots."""
    return self._on_constants(self.run.loop, learn=False)

  def search_network(self) -> Work:
    """`search` without the tree: the same encodings and the same number of model steps."""
    return self._on_constants(
      dataclasses.replace(self.run.loop, search=without_tree(self.run.loop.search)), learn=False
    )

  def tree(self) -> Work | None:
    """`search` without the network: its cost is that of tree operations.

    Returns:
      None when the search has no tree.
    """
    search = self.run.loop.search
    if not search.simulations:
      return None
    bare = dataclasses.replace(self.run.loop, search=without_network(search))
    return self._on_constants(bare, learn=False, encode=False)

  def learner(self) -> Work | None:
    """The gradient steps, with targets and metrics, on a constant batch.

    Returns:
      None when the run has no gradient steps.
    """
    return self._on_constants(self.run.loop, act=False) if self.run.loop.updates else None

  def replay(self) -> Work:
    """The replay alone: see `programs.replay_alone`."""
    run = dataclasses.replace(self.run, loop=programs.replay_alone(self.run.loop))
    return self._going_on(run.loop.run_ticks, [run.shared(), programs.filled(run)])

  @property
  def _learning(self) -> Loop:
    """The loop with the shortest possible warm-up: until the first example is complete."""
    ring = self.run.loop.ring
    return dataclasses.replace(self.run.loop, warmup=ring.smallest(ring.stack, ring.window))

  def _looped(self, tested: Loop) -> Work:
    """The program of a loop that has passed its warm-up."""
    run = dataclasses.replace(self.run, loop=tested)
    return self._going_on(tested.run_ticks, [run.shared(), run.local()], warmup=tested.warmup + 1)

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

  def _on_constants(self, tested: Loop, **choices: bool) -> Work:
    """Makes a workload on constant inputs; see `programs.on_constants`."""
    shared, program = self.run.shared(), programs.on_constants(tested, **choices)
    compiled = (
      parallel.pmapped(program, self.run.devices).lower(shared, self.frozen, np.int32(0)).compile()
    )
    return Work(lambda: compiled(shared, self.frozen, np.int32(self.ticks))[2])

  @functools.cached_property
  def frozen(self) -> programs.Frozen:
    """Constant inputs, from random play."""
    return programs.frozen(self.run)
