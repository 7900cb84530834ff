"""How much memory a run takes, before it takes it."""

import math
import os

import jax

from muzero_jax.config import ConfigError
from muzero_jax.experiment import Experiment

GIB = 2**30


def plan(run: Experiment) -> str:
  """What the replay takes, in a sentence.

  Raises:
    ConfigError: it does not fit into the memory of a device, or on the CPU of the host.
  """
  ring, devices = run.loop.ring, run.devices.size
  replay, free = ring.nbytes(), available(run)
  share = replay * (devices if jax.default_backend() == "cpu" else 1)
  if free is not None and share > 0.9 * free:
    fitting = int(run.config.replay.capacity * 0.8 * free / share)
    raise ConfigError(
      f"--replay.capacity={run.config.replay.capacity}: the replay would take {share / GIB:.2f} GiB and {free / GIB:.2f} GiB are "
      f"free; about {fitting} steps would fit."
    )
  steps = ring.rows * ring.num_envs
  frame = math.prod(ring.frame_shape) * jax.numpy.dtype(ring.frame_dtype).itemsize
  return (
    f"replay: {steps * devices:,} steps in {replay / GIB:.3f} GiB on each of {devices} device(s), {replay / steps:,.0f} bytes per "
    f"example ({replay / steps / frame:.3f} frames)"
  )


def available(run: Experiment) -> int | None:
  """Bytes free on a device (on the host, when that is the device), or None when nobody can tell."""
  device = run.devices.devices.flat[0]
  if device.platform != "cpu":
    stats = device.memory_stats() or {}
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else None
  try:
    with open("/proc/meminfo") as file:
      facts = dict(line.split(":") for line in file)
    return int(facts["MemAvailable"].split()[0]) * 1024
  except (OSError, KeyError, ValueError):
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
