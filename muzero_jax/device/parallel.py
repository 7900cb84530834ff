"""Devices. Everything else in the package is written for one device; here that is mapped over all
of them.

`pmapped` is what `jax.pmap` is today (jit of shard_map), written out: learner state is replicated,
local state has a leading axis of devices outside and none inside.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

AXIS = "device"


def mesh(devices: Sequence[Any] | None = None) -> Mesh:
  """The one-axis mesh over `devices` (of JAX; default: all local ones)."""
  return Mesh(np.array(devices or jax.local_devices()), (AXIS,))


def pmapped(fn: Callable, devices: Mesh, donate: tuple[int, ...] = ()) -> Any:
  """Maps a one-device function over all devices.

  Args:
    fn: `(shared, local, count) -> (shared, local, metrics)`. `shared` must come out the same on
      every device (`is_replicated` checks it); `local` and `metrics` differ by device. Inside,
      `AXIS` names the devices for collectives.
    devices: the mesh.
    donate: arguments whose memory the outputs take over.

  Returns:
    A jitted function whose local arguments and results carry a leading axis of devices.
  """

  def one_device(shared, local, count):
    shared, local, metrics = fn(shared, jax.tree.map(lambda x: x[0], local), count)
    return shared, *jax.tree.map(lambda x: x[None], (local, metrics))

  mapped = jax.shard_map(
    one_device,
    mesh=devices,
    in_specs=(P(), P(AXIS), P()),
    out_specs=(P(), P(AXIS), P(AXIS)),
    check_vma=False,
  )
  return jax.jit(mapped, donate_argnums=donate)


def axis_index() -> jax.Array:
  """i32[]: which device this is. Only inside `pmapped`."""
  return jax.lax.axis_index(AXIS)


def mean(tree: Any) -> Any:
  """The mean over devices, of arrays of one dtype. Only inside `pmapped`."""
  flat, restore = ravel_pytree(tree)  # devices meet once, and not once for every array
  return restore(jax.lax.pmean(flat, AXIS))


def replicate(tree: Any, devices: Mesh) -> Any:
  """Puts one copy of `tree` on every device."""
  return jax.device_put(tree, NamedSharding(devices, P()))


def split(tree: Any, devices: Mesh) -> Any:
  """Puts `x[d]` of every leaf of `tree` on device d."""
  return jax.device_put(tree, NamedSharding(devices, P(AXIS)))


def stack(trees: Sequence[Any], devices: Mesh) -> Any:
  """One tree per device -> one tree with a leading axis of devices, split over them."""
  return split(jax.tree.map(lambda *x: jnp.stack(x), *trees), devices)


def is_replicated(tree: Any) -> bool:
  """Whether every device holds bit for bit the same."""

  def same(x: jax.Array) -> bool:
    shards = [np.asarray(shard.data) for shard in x.addressable_shards]
    return all(np.array_equal(shards[0], shard, equal_nan=True) for shard in shards)

  return all(same(x) for x in jax.tree.leaves(tree))
