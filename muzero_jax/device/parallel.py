"""Maps functions over all devices; the rest of the package is written for a single device.

`pmapped` does what `jax.pmap` does today: it is the jit of a shard_map. The learner state is
replicated. Local state has a leading device axis outside of the mapped function, and none inside.

With several processes (`distributed.py`) the devices are those of all of them, and every process
calls the same functions in the same order.
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
  """A mesh with one axis over `devices` (JAX devices; by default all, of all processes).

  The devices of a process lie side by side, so that `own` is a range.
  """
  ordered = sorted(devices or jax.devices(), key=lambda device: (device.process_index, device.id))
  return Mesh(np.array(ordered), (AXIS,))


def own(devices: Mesh) -> range:
  """The positions of this process's devices in a mesh; all of them if it is alone."""
  processes = [device.process_index for device in devices.devices.flat]
  start = processes.index(jax.process_index())
  return range(start, start + processes.count(jax.process_index()))


def is_shared(devices: Mesh) -> bool:
  """Whether a mesh has devices of other processes, too."""
  return len(own(devices)) < devices.size


def pmapped(fn: Callable, devices: Mesh, donate: tuple[int, ...] = ()) -> Any:
  """Maps a function written for one device over all devices.

  Args:
    fn: `(shared, local, count) -> (shared, local, metrics)`. The returned `shared` must be equal on
      all devices (`is_replicated` checks that); `local` and `metrics` may differ. Within `fn`,
      collectives use the axis name `AXIS`.
    devices: the mesh.
    donate: positions of the arguments whose buffers are donated to the outputs.

  Returns:
    A jitted function in which `local` and `metrics` have a leading device axis. If the mesh has
    devices of several processes, each of them gets the metrics of all devices.
  """
  everywhere = is_shared(devices)

  def one_device(shared, local, count):
    shared, local, metrics = fn(shared, jax.tree.map(lambda x: x[0], local), count)
    if everywhere:
      metrics = jax.tree.map(lambda x: jax.lax.all_gather(x, AXIS), metrics)
      return shared, jax.tree.map(lambda x: x[None], local), metrics
    return shared, *jax.tree.map(lambda x: x[None], (local, metrics))

  mapped = jax.shard_map(
    one_device,
    mesh=devices,
    in_specs=(P(), P(AXIS), P()),
    out_specs=(P(), P(AXIS), P() if everywhere else P(AXIS)),
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


def replicated(devices: Mesh) -> NamedSharding:
  """The sharding of arrays of which every device has a copy."""
  return NamedSharding(devices, P())


def divided(devices: Mesh) -> NamedSharding:
  """The sharding of arrays whose first axis is that of the devices."""
  return NamedSharding(devices, P(AXIS))


def replicate(tree: Any, devices: Mesh) -> Any:
  """Puts one copy of `tree`, which is equal in all processes, on every device."""
  return _placed(tree, devices, replicated(devices))


def split(tree: Any, devices: Mesh) -> Any:
  """Puts `x[d]` on the d-th of this process's devices, for every leaf `x` of `tree`."""
  return _placed(tree, devices, divided(devices))


def _placed(tree: Any, devices: Mesh, sharding: NamedSharding) -> Any:
  """Makes arrays with this sharding of the parts that this process has of them."""
  if not is_shared(devices):
    return jax.device_put(tree, sharding)
  mine = own(devices)
  to = devices.devices.flat[mine.start : mine.stop]

  def placed(x: jax.Array) -> jax.Array:
    if sharding.spec == P():
      shape, parts = x.shape, [x] * len(mine)
    else:
      shape, parts = (devices.size, *x.shape[1:]), [x[d : d + 1] for d in range(len(mine))]
    parts = [jax.device_put(part, device) for part, device in zip(parts, to, strict=True)]
    return jax.make_array_from_single_device_arrays(shape, sharding, parts)

  return jax.tree.map(placed, tree)


def stack(trees: Sequence[Any], devices: Mesh) -> Any:
  """Stacks trees, one for each device of this process, along a leading device axis that is split
  over the devices.
  """
  return split(jax.tree.map(lambda *x: jnp.stack(x), *trees), devices)


def one(x: jax.Array) -> np.ndarray:
  """The part that one of this process's devices has of a split array, without the device axis."""
  return np.asarray(x.addressable_shards[0].data)[0]


def parts(x: jax.Array) -> np.ndarray:
  """The parts that this process's devices have of a split array: a copy, with the device axis."""
  shards = sorted(x.addressable_shards, key=lambda shard: shard.index[0].start or 0)
  return np.concatenate([np.asarray(shard.data) for shard in shards])


def is_replicated(tree: Any) -> bool:
  """Whether all devices hold equal values of every array."""

  def same(x: jax.Array) -> bool:
    shards = [np.asarray(shard.data) for shard in x.addressable_shards]
    return all(np.array_equal(shards[0], shard, equal_nan=True) for shard in shards)

  return all(same(x) for x in jax.tree.leaves(tree))
