"""Computes what would limit a run on many devices, from figures measured on one of them.

muzero-jax scaling --preset=NAME --steps_per_second=N [--frames_per_core=N] [--cores=N] [...]

Nothing is run. Sizes come from the settings; --steps_per_second is the speed of the loop on one
device, and --frames_per_core that of one core's emulators (both from `launch.benchmark`). The
network is as its flags say. docs/accelerators.md has an example.
"""

import dataclasses
import json

from launch import cli
from muzero_jax.config import Config, ConfigError, option


@dataclasses.dataclass(frozen=True)
class Options(Config):
  """The settings of a run, figures of one device, and the network."""

  steps_per_second: float = option(0.0, "agent steps per second of one device", minimum=0)
  frames_per_core: float = option(
    6000.0, "emulator frames per second of one core, preprocessing included", minimum=1
  )
  cores: float = option(16.0, "CPU cores that a host has for each device", minimum=0.1)
  counts: str = option("1,8,64,1024", "numbers of devices, with commas between")
  devices_per_host: int = option(8, "devices of a host", minimum=1)
  inside: float = option(300.0, "GB/s between two devices of a host", minimum=0.001)
  between: float = option(50.0, "GB/s of a host to other hosts", minimum=0.001)
  latency: float = option(10.0, "microseconds per message between hosts", minimum=0)
  disk: float = option(1.0, "GB/s at which checkpoints are written", minimum=0.001)
  json: str = option("", "write the results to this file, too")


def main(argv: list[str]) -> None:
  """Prints the table."""
  import jax

  jax.config.update("jax_platforms", "cpu")
  from muzero_jax import build, flags, rules
  from muzero_jax.benchmark import memory, scaling
  from muzero_jax.device import parallel
  from muzero_jax.device.chips import Target

  options = flags.parse(argv, Options(), usage=__doc__)
  rules.check(options)
  counts = scaling.counts(options.counts)
  if options.json:
    cli.write(options.json, "")
  if not options.steps_per_second:
    raise ConfigError(
      "--steps_per_second is missing: measure it on one device with `python -m launch.benchmark`."
    )
  # A target that is not attached, so that no emulator is started.
  one_device = Target("gpu", parallel.mesh(jax.devices("cpu")[:1]), attached=False)
  run = build.build(options, target=one_device)
  sizes = memory.sizes(run)
  in_jax = options.env.kind in rules.IN_JAX
  emulated = 0 if in_jax else max(build.frames_per_step(options), 1)
  learner = run.loop.learner
  one = scaling.OneDevice(
    env_steps_per_second=options.steps_per_second,
    updates_per_step=options.learner.updates_per_step,
    frames_per_step=emulated,
    parameters=memory.nbytes(jax.eval_shape(learner.init, jax.random.key(0)).params),
    state=sizes["parameters"] + sizes["optimizer"],
    replay=sizes["replay"],
    saved_replay=sizes["replay"] * options.checkpoint.replay,
    frames_per_core=options.frames_per_core,
  )
  network = scaling.Network(
    options.devices_per_host,
    options.inside * 1e9,
    options.between * 1e9,
    options.latency * 1e-6,
    options.disk * 1e9,
  )
  rows = [scaling.row(one, network, count, options.cores) for count in counts]
  print(scaling.table(rows))
  if options.json:
    cli.write(options.json, json.dumps([dataclasses.asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
  cli.run(main)
