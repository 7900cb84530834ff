"""Counts the operations of a run's network, and measures how many the device could do."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from muzero_jax import build
from muzero_jax.benchmark.stubs import FixedSampler, without_tree
from muzero_jax.build import Run
from muzero_jax.networks.model import initial_inference


def flops(run: Run) -> dict[str, float]:
  """Floating point operations of the network in one tick, on all devices, by XLA's cost analysis.

  XLA counts the body of a loop only once. So the simulations of a search are counted unrolled, and
  a step of the learner's unroll is counted separately and added for its other steps.

  Returns:
    "act" and "learn": the operations of acting and of gradient steps; the latter are averaged over
    ticks, since the learner does not run in every tick if `loop.every` is above 1.
  """
  loop, devices = run.loop, run.devices.size
  state = jax.eval_shape(loop.learner.init, jax.random.key(0))
  act, learn = acting(run, state.variables), gradient_step(run, state)
  return {"act": act * devices, "learn": learn * devices * loop.updates / loop.every}


def acting(run: Run, params: Any) -> float:
  """Operations of one agent step in all environments of a device; `params` may be shapes."""
  loop = run.loop
  search = without_tree(loop.search, unroll=True)
  return cost(
    lambda p, k, x: search(p, k, initial_inference(loop.model, p, x)),
    params,
    _key(),
    _stacks(run, loop.environment.spec.num_envs),
  )


def gradient_step(run: Run, state: Any) -> float:
  """Operations of one gradient step on a device; `state` (`LearnerState`) may be shapes."""
  loop, config, learner = run.loop, run.config, run.loop.learner
  size, model = learner.batch_size, loop.model
  search = without_tree(loop.search, unroll=True)
  alone = build.make_learner(config, model, search, loop.ring, run.target.platform)
  alone = dataclasses.replace(alone, mean=lambda x: x)  # on one device

  def draw(memory, key):
    return learner.sampler.sample(loop.ring, memory, key, size, jnp.int32(0))

  def update(state, memory, key, batch):
    return dataclasses.replace(alone, sampler=FixedSampler(batch)).update(state, memory, key)

  def unroll_step(params, hidden, action, gradient):
    return jax.vjp(lambda p, h: model.step(p, h, action), params, hidden)[1](gradient)

  memory, params = jax.eval_shape(loop.ring.init), state.variables
  batch = jax.eval_shape(draw, memory, _key())
  nodes = _nodes(run, params, size)
  gradient = jax.eval_shape(model.step, params, *nodes)
  return cost(update, state, memory, _key(), batch) + max(config.targets.unroll - 1, 0) * cost(
    unroll_step, params, *nodes, gradient
  )


def _key() -> Any:
  """The shape of a random key."""
  return jax.eval_shape(lambda: jax.random.key(0))


def _stacks(run: Run, count: int) -> Any:
  """The shape of this many stacks of frames."""
  spec = run.loop.environment.spec
  shape = (count, run.loop.ring.stack, *spec.frame_shape)
  return jax.ShapeDtypeStruct(shape, spec.frame_dtype)


def _nodes(run: Run, params: Any, count: int) -> tuple[Any, Any]:
  """The shapes of this many hidden states, and of actions in them."""
  hidden = jax.eval_shape(run.loop.model.encode, params, _stacks(run, count))
  return hidden, jax.ShapeDtypeStruct((count,), jnp.int32)


def cost(fn: Callable, *shapes: Any) -> float:
  """Floating point operations of a function, by XLA's cost analysis on the CPU.

  Other backends can analyze a function only after compiling it.

  Args:
    fn: the function.
    *shapes: its arguments; `jax.ShapeDtypeStruct` suffices.
  """
  with jax.default_device(jax.local_devices(backend="cpu")[0]):
    return float((jax.jit(fn).lower(*shapes).cost_analysis() or {}).get("flops", 0))


def peak(dtype: Any) -> float:
  """Measures the floating point operations per second that products of square matrices reach.

  Args:
    dtype: of the matrices.

  Returns:
    The operations per second of this machine's CPU or of its first accelerator.
  """
  size = 1024 if jax.default_backend() == "cpu" else 8192
  a = jnp.ones((size, size), dtype)
  product = jax.jit(lambda a: jax.lax.fori_loop(0, 8, lambda _, x: x @ a / size, a))
  times = []
  for _ in range(6):
    begun = time.perf_counter()
    jax.block_until_ready(product(a))
    times.append(time.perf_counter() - begun)
  return 8 * 2 * size**3 / min(times[1:])
