"""Computes how much memory a run will need, before it is allocated."""

import math
import os
from typing import Any

import jax
import jax.numpy as jnp

from muzero_jax.benchmark import stubs
from muzero_jax.build import Run
from muzero_jax.config import ConfigError
from muzero_jax.device import parallel

GIB, MIB = 2**30, 2**20


def check(run: Run, replays: int = 1) -> str:
  """Describes in one sentence what a run needs memory for, and checks that there is enough.

  Args:
    run: the run.
    replays: number of copies of the replay that there must be room for.

  Raises:
    ConfigError: the run does not fit into the free memory of a device or, on the CPU, of the host.
  """
  taken, free, ring, devices = sizes(run), available(run), run.loop.ring, run.devices.size
  own = len(parallel.own(run.devices))
  here = own if run.target.platform == "cpu" else 1  # number of devices that share one memory
  replay = replays * taken["replay"] * here
  rest = (sum(taken.values()) - taken["replay"]) * here
  if free is not None and replay + rest > 0.9 * free:
    fitting = int(run.config.replay.capacity * (0.8 * free - rest) / replay)
    if fitting < ring.smallest(ring.stack, ring.window) * ring.num_envs * devices:
      raise ConfigError(
        f"the run would take {rest / GIB:.2f} GiB besides the replay, and {free / GIB:.2f} GiB are "
        "free: use a smaller "
        f"--env.num_envs, --learner.batch_size, --search.num_simulations or --network.size."
      )
    raise ConfigError(
      f"--replay.capacity={run.config.replay.capacity}: the replay would take {replay / GIB:.2f} "
      f"GiB, all else {rest / GIB:.2f} GiB, "
      f"and {free / GIB:.2f} GiB are free; about {fitting} steps would fit."
    )
  steps, frame = (
    ring.rows * ring.num_envs,
    math.prod(ring.frame_shape) * jnp.dtype(ring.frame_dtype).itemsize,
  )
  others = ", ".join(
    f"{name} {size / MIB:,.1f} MiB" for name, size in taken.items() if name != "replay"
  )
  return (
    f"memory, each of {devices} device(s): replay {taken['replay'] / GIB:.3f} GiB "
    f"({steps * devices:,} steps on all, "
    f"{taken['replay'] / steps:,.0f} bytes per example, {taken['replay'] / steps / frame:.3f} "
    f"frames), {others}"
  )


def shares(run: Run) -> str:
  """What each device has and what all have together, in one line: another number of devices is
  another experiment unless the totals stay the same.
  """
  envs, batch, devices = (
    run.loop.environment.spec.num_envs,
    run.loop.learner.batch_size,
    run.devices.size,
  )
  return (
    f"{devices} device(s) with {envs} environments and {batch} examples per gradient step each; "
    f"{devices * envs} and {devices * batch} in total"
  )


def sizes(run: Run) -> dict[str, int]:
  """Bytes on one device for each use of memory.

  The compiled program's temporary memory is not included: only the compiler knows it.
  """
  loop, targets = run.loop, run.config.targets
  learner = jax.eval_shape(loop.learner.init, jax.random.key(0))
  hidden = jax.eval_shape(
    loop.model.encode,
    learner.params["model"],
    jax.eval_shape(loop.ring.recent, jax.eval_shape(loop.ring.init)),
  )
  share = 1.0 if targets.bootstrap == "search" else targets.reanalyse
  reanalyzed = round(share * loop.learner.batch_size) * (targets.unroll + 1)
  num_envs, num_actions = loop.environment.spec.num_envs, loop.environment.spec.num_actions
  # A node of mctx's tree has its hidden state, 6 numbers, and 6 numbers for each action. A node of
  # the other growers' also has 9 bytes for each node of the tree (`search.backup.Paths`).
  node = nbytes(hidden) // num_envs + 4 * (6 + 6 * num_actions)
  trees = [
    (x.simulations + 1) * (node + (9 * (x.simulations + 1) if x.tree != "mctx" else 0))
    for x in stubs.trees(loop.search)
  ]
  roots = max(num_envs, reanalyzed)
  return {
    "replay": loop.ring.nbytes(),
    "parameters": nbytes(learner.params) + nbytes(learner.target_params),
    "optimizer": nbytes(learner.opt_state),
    "search tree": roots * max(trees, default=0),
    "unrolled hidden states": loop.learner.batch_size
    * (targets.unroll + 1)
    * nbytes(hidden)
    // num_envs,
  }


def nbytes(tree: Any) -> int:
  """Bytes of all arrays (or of all `jax.ShapeDtypeStruct`) in a pytree."""
  return sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(tree))


def available(run: Run) -> int | None:
  """Free bytes on a device (on the CPU: of the host), or None when the device does not tell."""
  device = run.devices.devices.flat[parallel.own(run.devices).start]
  if device.platform != "cpu":
    stats = device.memory_stats() or {}
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else None
  try:
    with open("/proc/meminfo") as file:
      facts = dict(line.split(":") for line in file)
    return int(facts["MemAvailable"].split()[0]) * 1024
  except (OSError, KeyError, ValueError):
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
