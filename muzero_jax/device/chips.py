"""What a program is built and compiled for: the devices of this machine, or ones it does not have.

A `Target` is an argument of `build.build`. XLA can compile for a chip that is only described, down
to its machine code and its memory layout; only running the program is left out.
"""

import dataclasses
import importlib.util
import os
from typing import Any

import jax
from jax.experimental import topologies
from jax.sharding import Mesh

from muzero_jax.config import ConfigError
from muzero_jax.device import parallel


@dataclasses.dataclass(frozen=True)
class Target:
  """The devices that a run is built for."""

  platform: str  # "cpu", "gpu" or "tpu"
  devices: Mesh
  attached: bool = True  # whether this machine has them; if not, programs can be compiled only


@dataclasses.dataclass(frozen=True)
class Chip:
  """A kind of device by the figures that its maker publishes, per JAX device."""

  name: str
  platform: str  # "gpu" or "tpu"
  memory: float  # bytes that a program can use
  bandwidth: float  # bytes per second, of the memory
  # Operations per second of dense matrix products, by the dtype of the network.
  peak: dict[str, float]
  described: dict[str, Any]  # what `described` tells XLA of it


# On a GPU, JAX takes 75 % of the memory (XLA_PYTHON_CLIENT_MEM_FRACTION). Products of float32
# matrices use TF32 on a GPU and bfloat16 on a TPU, by default.
CHIPS = {
  "h100": Chip(
    "NVIDIA H100 SXM 80 GB",
    "gpu",
    memory=0.75 * 84_942_979_072,
    bandwidth=3.352e12,
    peak={"bfloat16": 989e12, "float32": 495e12},
    described=dict(
      device="NVIDIA H100 80GB HBM3",
      major=9,
      cores=132,
      fpus=128,
      shared=233_472,
      optin=232_448,
      l2=52_428_800,
      clock=1.98,
      memory=84_942_979_072,
    ),
  ),
  "a100": Chip(
    "NVIDIA A100 SXM 80 GB",
    "gpu",
    memory=0.75 * 85_024_112_640,
    bandwidth=2.039e12,
    peak={"bfloat16": 312e12, "float32": 156e12},
    described=dict(
      device="NVIDIA A100-SXM4-80GB",
      major=8,
      cores=108,
      fpus=64,
      shared=167_936,
      optin=166_912,
      l2=41_943_040,
      clock=1.41,
      memory=85_024_112_640,
    ),
  ),
  "v5e": Chip(
    "TPU v5e",
    "tpu",
    memory=15.75 * 2**30,
    bandwidth=819e9,
    peak={"bfloat16": 197e12, "float32": 197e12},
    described=dict(few="2x2", many="2x4"),
  ),
  "v6e": Chip(
    "TPU v6e",
    "tpu",
    memory=31.25 * 2**30,
    bandwidth=1640e9,
    peak={"bfloat16": 918e12, "float32": 918e12},
    described=dict(few="2x2", many="2x4"),
  ),
  "v4": Chip(
    "TPU v4",
    "tpu",
    memory=30.75 * 2**30,
    bandwidth=1228e9,
    peak={"bfloat16": 275e12, "float32": 275e12},
    described=dict(few="2x2x1", many="2x2x2", chip_config_name="megacore"),
  ),
}

# Extra -> the module whose absence means that it is not installed.
EXTRAS = {
  "gpu": ("compile-gpu", "jax_plugins.xla_cuda12"),
  "tpu": ("compile-tpu", "libtpu"),
}
MOST_DEVICES = 8


def local() -> Target:
  """The devices of this process and of those that it trains with."""
  return Target(jax.default_backend(), parallel.mesh())


def described(name: str, count: int = 1, processes: int = 1) -> Target:
  """Devices that this machine need not have.

  Args:
    name: a key of `CHIPS`.
    count: number of devices, 1 to 8.
    processes: 1, 2, 4 or 8 processes, among which the devices are divided equally; each is on a
      host of its own, and this process is the first of them.

  Raises:
    ConfigError: the compiler for this kind of device is not installed, or the numbers do not fit.
  """
  chip = CHIPS[name]
  missing = missing_extra(chip.platform)
  if missing:
    raise ConfigError(
      f"--target={name}: its compiler is not installed; install it with "
      f'`pip install ".[{missing}]"`.'
    )
  if not 1 <= count <= MOST_DEVICES:
    raise ConfigError(f"--devices={count}: must be 1 to {MOST_DEVICES}.")
  if processes not in (1, 2, 4, 8) or count % processes:
    raise ConfigError(
      f"--processes={processes}: must be 1, 2, 4 or 8, and divide --devices={count}."
    )
  if chip.platform == "gpu":
    topology = _gpus(chip, count, processes)
  else:
    topology = _tpus(name, count, processes)
  hosts = [[x for x in topology.devices if x.process_index == i] for i in range(processes)]
  chosen = [device for own in hosts for device in own[: count // processes]]
  return Target(chip.platform, parallel.mesh(chosen), attached=False)


def missing_extra(platform: str) -> str | None:
  """The extra that must be installed to compile for "gpu" or "tpu"; None if it is there."""
  extra, module = EXTRAS[platform]
  try:
    return None if importlib.util.find_spec(module) else extra
  except ModuleNotFoundError:  # of the module's parent
    return extra


def _gpus(chip: Chip, count: int, processes: int) -> Any:
  # The topology is slices x hosts x devices of a host.
  return topologies.get_topology_desc(
    platform="cuda",
    target_config=DEVICE.format(**_whole(chip)),
    topology=f"1x{processes}x{count // processes}",
  )


def _whole(chip: Chip) -> dict[str, Any]:
  return chip.described | dict(bandwidth=int(chip.bandwidth))


def _tpus(name: str, count: int, processes: int) -> Any:
  # Otherwise libtpu looks for the machine that it runs on, and waits for an answer.
  defaults = dict(
    TPU_SKIP_MDS_QUERY="1",
    TPU_ACCELERATOR_TYPE="v5litepod-4",
    TPU_WORKER_HOSTNAMES="localhost",
    TPU_WORKER_ID="0",
  )
  for variable, value in defaults.items():
    os.environ.setdefault(variable, value)
  words = dict(CHIPS[name].described)
  few, many = words.pop("few"), words.pop("many")
  shape = few if count <= 4 else many
  try:
    return topologies.get_topology_desc(
      platform="tpu",
      topology_name=f"{name}:{shape}",
      chips_per_host_bounds=host([int(x) for x in shape.split("x")], processes),
      **words,
    )
  except jax.errors.JaxRuntimeError as error:
    if "lockfile" not in str(error):
      raise
    raise ConfigError(
      "--target: libtpu serves one process at a time, and another one is using it; wait for it to "
      "end, or remove /tmp/libtpu_lockfile if there is none."
    ) from error


def host(shape: list[int], processes: int) -> list[int]:
  """The shape, in three dimensions, of a host's part of a slice of TPUs that has this shape."""
  shape = shape + [1] * (3 - len(shape))
  while processes > 1:
    longest = max(range(3), key=lambda axis: (shape[axis], axis))
    shape[longest] //= 2
    processes //= 2
  return shape


# XLA's description of a GPU, in the text format of protocol buffers.
DEVICE = """
gpu_device_info {{
  threads_per_block_limit: 1024
  threads_per_warp: 32
  shared_memory_per_block: 49152
  shared_memory_per_core: {shared}
  threads_per_core_limit: 2048
  core_count: {cores}
  fpus_per_core: {fpus}
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  memory_bandwidth: {bandwidth}
  l2_cache_size: {l2}
  clock_rate_ghz: {clock}
  device_memory_size: {memory}
  shared_memory_per_block_optin: {optin}
  cuda_compute_capability {{ major: {major} }}
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
}}
platform_name: "CUDA"
dnn_version_info {{ major: 9 minor: 10 patch: 0 }}
device_description_str: "{device}"
"""
