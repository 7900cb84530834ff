"""Counts the operations of a run's network, and measures how many the device could do."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from muzero_jax import build
from muzero_jax.benchmark.stubs import Fixed, without_tree
from muzero_jax.build import Experiment
from muzero_jax.networks.model import initial_inference
from muzero_jax.search.base import RecurrentFn


def flops(run: Experiment) -> dict[str, float]:
  """Floating point operations of the network in one tick, on all devices, by XLA's cost analysis.

  XLA counts the body of a loop only once. So the body of each scan is also counted separately and
  added for its other iterations.

  Returns:
    "act" and "learn": the operations of acting and of gradient steps; the latter are averaged over
    ticks, since the learner may not have a turn in every tick.
  """
  loop, model, ring = run.loop, run.loop.model, run.loop.ring
  spec, size, unroll = loop.environment.spec, loop.learner.batch_size, loop.learner.targets.unroll
  search = without_tree(loop.search)
  state, key = (
    jax.eval_shape(loop.learner.init, jax.random.key(0)),
    jax.eval_shape(lambda: jax.random.key(0)),
  )
  params = state.variables

  def hidden_states(count: int) -> tuple[Any, Any]:
    frames = jax.ShapeDtypeStruct((count, ring.stack, *spec.frame_shape), spec.frame_dtype)
    return jax.eval_shape(model.encode, params, frames), jax.ShapeDtypeStruct((count,), jnp.int32)

  def again(count: int) -> float:
    """The operations of a search's model steps, except for the first one, for `count` roots."""
    node = RecurrentFn(model, 1.0)
    one = cost(
      lambda p, h, a: node(p, jax.random.key(0), a, (h, a.astype(jnp.float32))),
      params,
      *hidden_states(count),
    )
    return max(search.simulations - 1, 0) * one

  stacks = jax.ShapeDtypeStruct((spec.num_envs, ring.stack, *spec.frame_shape), spec.frame_dtype)
  act = cost(
    lambda p, k, x: search(p, k, initial_inference(model, p, x)), params, key, stacks
  ) + again(spec.num_envs)
  memory = jax.eval_shape(ring.init)
  batch = jax.eval_shape(
    lambda memory, key: loop.learner.sampler.sample(ring, memory, key, size, jnp.int32(0)),
    memory,
    key,
  )
  alone = dataclasses.replace(build.make_learner(run.config, model, search, ring), mean=lambda x: x)

  def update(state, memory, key, batch):
    return dataclasses.replace(alone, sampler=Fixed(batch)).update(state, memory, key)

  def back(params, hidden, action, gradient):
    return jax.vjp(lambda p, h: model.step(p, h, action), params, hidden)[1](gradient)

  hidden, action = hidden_states(size)
  learn = cost(update, state, memory, key, batch)
  learn += max(unroll - 1, 0) * cost(
    back, params, hidden, action, jax.eval_shape(model.step, params, hidden, action)
  )
  if run.config.targets.reanalyse:
    learn += again(round(run.config.targets.reanalyse * size) * (unroll + 1))
  devices = run.devices.size
  return {"act": act * devices, "learn": learn * devices * loop.updates / loop.every}


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
