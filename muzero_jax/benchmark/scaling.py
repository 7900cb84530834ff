"""What limits a run on many devices: arithmetic from figures of one device and of a network.

Every device has its own environments, replay and batch, so that more devices make more agent steps
and a larger total batch. They wait for each other once in an update, to average the gradients. Each
device takes as many updates for its own steps as one alone: `--learner.updates_per_step`, which
counts the steps of all devices, is divided by their number.
"""

import dataclasses
import math

from muzero_jax.config import ConfigError


@dataclasses.dataclass(frozen=True)
class OneDevice:
  """What is known of a run on one device."""

  env_steps_per_second: float  # agent steps, measured
  updates_per_step: float  # gradient steps per agent step of one device
  frames_per_step: int  # emulator frames per agent step; 0: the device steps its environments
  parameters: int  # bytes of the gradients that are averaged
  state: int  # bytes of a checkpoint: parameters, target network, optimizer
  replay: int  # bytes of the replay
  saved_replay: int  # bytes of it that are in a checkpoint: 0 without --checkpoint.replay
  frames_per_core: float  # emulator frames per second on one core, measured


@dataclasses.dataclass(frozen=True)
class Network:
  """What connects the devices."""

  devices_per_host: int
  inside: float  # bytes per second between two devices of a host, in each direction
  between: float  # bytes per second of a host to others, in each direction
  latency: float  # seconds per message between hosts; a tenth of it inside a host
  disk: float  # bytes per second at which a checkpoint is written


@dataclasses.dataclass(frozen=True)
class Row:
  """The figures for one number of devices."""

  devices: int
  hosts: int
  cores_per_device: float  # that the emulators keep busy
  reduced: float  # bytes that each device sends for an update
  reduce_seconds: float  # time of the all-reduce of an update
  efficiency: float  # agent steps per second, as a share of as many single devices'
  env_steps_per_second: float  # on all devices
  replay: float  # bytes on each device
  checkpoint: float  # bytes, with the replays of all devices if they are saved
  checkpoint_seconds: float
  limit: str  # what costs most of the efficiency: "all-reduce", or "emulators"


def counts(text: str) -> list[int]:
  """The numbers of devices that --counts names.

  Raises:
    ConfigError: it is not a list of positive integers.
  """
  try:
    found = [int(word) for word in text.split(",")]
  except ValueError:
    found = []
  if not found or min(found) < 1:
    raise ConfigError(f"--counts={text}: must be positive integers with commas between: 1,8,64.")
  return found


def row(one: OneDevice, network: Network, devices: int, cores_per_device: float) -> Row:
  """The figures for this number of devices.

  The all-reduce is a ring inside each host and a tree over the hosts, whose messages wait for each
  other 2 log2(hosts) times. Nothing of it is hidden behind the backward pass.

  Args:
    one: a run on one device.
    network: what connects the devices.
    devices: number of devices.
    cores_per_device: cores that a host has for each of its devices.
  """
  hosts = math.ceil(devices / network.devices_per_host)
  local = min(devices, network.devices_per_host)
  sent_inside = 2 * (local - 1) / local * one.parameters
  sent_between = 2 * (hosts - 1) / hosts * one.parameters  # of a whole host
  seconds = (
    sent_inside / network.inside
    + sent_between / network.between
    + 2 * (local - 1) * network.latency / 10
    + 2 * math.ceil(math.log2(hosts)) * network.latency
  )
  needed = one.env_steps_per_second * one.frames_per_step / one.frames_per_core
  waiting = 1 / (1 + seconds * one.env_steps_per_second * one.updates_per_step)
  fed = min(1.0, cores_per_device / needed) if needed else 1.0
  efficiency = min(waiting, fed)
  checkpoint = float(one.state + devices * one.saved_replay)
  return Row(
    devices=devices,
    hosts=hosts,
    cores_per_device=needed,
    reduced=sent_inside + sent_between / local,
    reduce_seconds=seconds,
    efficiency=efficiency,
    env_steps_per_second=devices * efficiency * one.env_steps_per_second,
    replay=float(one.replay),
    checkpoint=checkpoint,
    checkpoint_seconds=checkpoint / network.disk,
    limit="emulators" if fed < waiting else "all-reduce" if devices > 1 else "the device",
  )


def table(rows: list[Row]) -> str:
  """Formats rows as a Markdown table."""
  lines = [
    "| devices | hosts | agent steps/s | of ideal | limited by | all-reduce of an update | "
    "busy cores per device | replay per device | checkpoint |",
    "|---|---|---|---|---|---|---|---|---|",
  ]
  lines += [
    f"| {row.devices:,} | {row.hosts:,} | {row.env_steps_per_second:,.0f} | {row.efficiency:.2f} | "
    f"{row.limit} | {row.reduced / 2**20:.2f} MiB in {1e3 * row.reduce_seconds:.3f} ms | "
    f"{row.cores_per_device:.1f} | {_size(row.replay)} | "
    f"{row.checkpoint / 2**20:,.0f} MiB in {row.checkpoint_seconds:.2f} s |"
    for row in rows
  ]
  return "\n".join(lines)


def _size(count: float) -> str:
  """A number of bytes, in MiB where it is less than a GiB."""
  return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.1f} MiB"
