"""Programs of parts of the loop, without the parts around them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.benchmark.stubs import (
  FixedSampler,
  FreeEnvironment,
  SamplingOnly,
  SearchWithoutTree,
  blind_model,
  forced,
)
from muzero_jax.build import Run
from muzero_jax.device import ordering, parallel
from muzero_jax.loop import Local, Loop, Shared
from muzero_jax.networks.model import initial_inference
from muzero_jax.replay.frames import Replay
from muzero_jax.search.random import Random
from muzero_jax.types import Array, Key, Root, Sample, record


@record
class Frozen:
  """The constant inputs of the parts that have neither replay nor environment."""

  batch: Sample
  stacks: Array  # [B, S, *frame_shape]
  origin: Root  # the search's root for these stacks
  key: Key


def frozen(run: Run) -> Frozen:
  """The constant inputs of a run, from random play."""
  loop, learner = run.loop, run.loop.learner

  def program(shared: Shared, local: Local, count: Array):
    batch = learner.sampler.sample(learner.ring, local.replay, local.key, learner.batch_size, count)
    stacks = learner.ring.recent(local.replay)
    root = initial_inference(loop.model, shared.learner.variables, stacks)
    return shared, local.key, Frozen(batch, stacks, root, local.key)

  made = parallel.pmapped(program, run.devices)(run.shared(), filled(run), np.int32(0))
  return jax.block_until_ready(made[2])


def on_constants(
  tested: Loop, *, act: bool = True, learn: bool = True, encode: bool = True
) -> Callable:
  """Makes the program of a loop without replay and environment: (shared, `Frozen`, ticks).

  Args:
    tested: the loop whose model, search and learner are used.
    act: whether to search in every tick.
    learn: whether to do gradient steps, as often as the loop does.
    encode: whether to encode the roots of the search in every tick.
  """
  absent: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(Replay))
  nothing = Replay(**absent)

  def searched(params: Any, key: Key, inputs: Frozen, done: Array) -> Array:
    if encode:
      root = initial_inference(tested.model, params, ordering.after(inputs.stacks, done))
    else:
      root = jax.tree.map(lambda x: ordering.after(x, done), inputs.origin)
    return forced(tested.search(params, key, root))

  def program(shared: Shared, inputs: Frozen, count: Array):
    learner = dataclasses.replace(tested.learner, sampler=FixedSampler(inputs.batch))
    loop = dataclasses.replace(tested, learner=learner)

    def tick(i: Array, carry: tuple[Any, Array]) -> tuple[Any, Array]:
      (state, done), params = carry, carry[0].variables
      act_key, learn_key = jax.random.split(jax.random.fold_in(inputs.key, i))
      if act:
        done = searched(params, act_key, inputs, done)
      if learn:
        due = is_due(loop, i) & (done < 1)
        state, _, norm, metrics = loop.learn(due, state, nothing, learn_key)
        done = forced((done, norm, {} if act else metrics))
      return state, done

    state, done = jax.lax.fori_loop(0, count, tick, (shared.learner, jnp.float32(0)))
    return dataclasses.replace(shared, learner=state), inputs.key, done

  return program


def replay_alone(loop: Loop) -> Loop:
  """The loop without emulators, network and gradients.

  What is left stores the steps of a `FreeEnvironment`, stacks the newest frames, samples the
  batches of the gradient steps, and updates priorities.
  """
  spec, parts = loop.environment.spec, dataclasses.fields(loop.learner)
  model = blind_model(loop.model, spec.num_actions)
  return dataclasses.replace(
    loop,
    environment=FreeEnvironment(spec),
    model=model,
    search=SearchWithoutTree(model, discount=1.0, num_simulations=0),
    learner=SamplingOnly(**{part.name: getattr(loop.learner, part.name) for part in parts}),
    warmup=0,
    monitors=(),
  )


def is_due(loop: Loop, tick: Array) -> Array:
  """Whether gradient steps are due in a tick, bool[]."""
  return tick % loop.every == loop.every - 1


def filled(run: Run) -> Local:
  """The local state after some random play: environments, and a replay with examples."""
  fill = dataclasses.replace(run.loop, search=Random(), updates=0)
  count = max(64, 2 * run.loop.ring.smallest(run.loop.ring.stack, run.loop.ring.window))
  return jax.block_until_ready(
    parallel.pmapped(fill.run_ticks, run.devices, donate=(1,))(
      run.shared(), run.local(), np.int32(count)
    )[1]
  )
