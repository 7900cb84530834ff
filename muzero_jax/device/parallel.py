"""Maps functions over all devices; the rest of the package is written for a single device.

`pmapped` does what `jax.pmap` does today: it is the jit of a shard_map. The learner state is
replicated. Local state has a leading device axis outside of the mapped function, and none inside.
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
  """A mesh with one axis over `devices` (JAX devices; by default all local ones)."""
  return Mesh(np.array(devices or jax.local_devices()), (AXIS,))


def pmapped(fn: Callable, devices: Mesh, donate: tuple[int, ...] = ()) -> Any:
  """Maps a function written for one device over all devices.

  Args:
    fn: `(shared, local, count) -> (shared, local, metrics)`. The returned `shared` must be equal on
      all devices (`is_replicated` checks that); `local` and `metrics` may differ. Within `fn`,
      collectives use the axis name `AXIS`.
    devices: the mesh.
    donate: positions of the arguments whose buffers are donated to the outputs.

  Returns:
    A jitted function in which `local` and `metrics` have a leading device axis.
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
  """The index of the current device, i32[]. Only valid within `pmapped`."""
  return jax.lax.axis_index(AXIS)


def mean(tree: Any) -> Any:
  """The mean over devices of a pytree whose arrays have one dtype. Only valid within `pmapped`."""
  flat, restore = ravel_pytree(tree)  # one collective in total, not one for each array
  return restore(jax.lax.pmean(flat, AXIS))


def replicate(tree: Any, devices: Mesh) -> Any:
  """Puts one copy of `tree` on every device."""
  return jax.device_put(tree, NamedSharding(devices, P()))


def split(tree: Any, devices: Mesh) -> Any:
  """Puts `x[d]` on device d, for every leaf `x` of `tree`."""
  return jax.device_put(tree, NamedSharding(devices, P(AXIS)))


def stack(trees: Sequence[Any], devices: Mesh) -> Any:
  """Stacks one tree per device into one tree whose leading device axis is split over them."""
  return split(jax.tree.map(lambda *x: jnp.stack(x), *trees), devices)


def is_replicated(tree: Any) -> bool:
  """Whether all devices hold equal values of every array."""

  def same(x: jax.Array) -> bool:
    shards = [np.asarray(shard.data) for shard in x.addressable_shards]
    return all(np.array_equal(shards[0], shard, equal_nan=True) for shard in shards)

  return all(same(x) for x in jax.tree.leaves(tree))
