"""Compiles a run for a GPU or TPU that this machine need not have, and says what it would take.

muzero-jax compile --target=NAME [--devices=N] [--processes=N] --preset=NAME [--json=FILE]
                   [--flag=value ...]

Nothing is run and no emulator is started. The command prints whether the run compiles and fits,
its memory, what it copies, its operations, kernels and waits of the host, and an estimate of what
bounds a tick. docs/accelerators.md explains the figures. It needs a compiler beyond the
requirements: pip install ".[compile-gpu]" or ".[compile-tpu]".
"""

import dataclasses
import json

from launch import cli
from muzero_jax.config import Config, ConfigError, option


@dataclasses.dataclass(frozen=True)
class Options(Config):
  """The settings of a run, and what to compile it for."""

  target: str = option(
    "h100", "the device to compile for", choices=("h100", "a100", "v5e", "v6e", "v4")
  )
  devices: int = option(1, "number of these devices", minimum=1, maximum=8)
  processes: int = option(
    1,
    "number of processes (1, 2, 4 or 8), each on a host of its own, among which the devices are "
    "divided equally; the program is that of process 0",
  )
  json: str = option("", "write the results to this file, too")


def main(argv: list[str]) -> int:
  """Compiles, and prints the results; returns 1 if the run does not fit.

  Raises:
    ConfigError: XLA refuses the device or the program.
  """
  import jax

  jax.config.update("jax_platforms", "cpu")  # a device that is here is not needed
  from muzero_jax import build, flags, rules
  from muzero_jax.benchmark import compilation
  from muzero_jax.device import chips

  options = flags.parse(argv, Options(), usage=__doc__)
  rules.check(options)
  if options.json:
    cli.write(options.json, "")
  refused = "device"
  try:
    target = chips.described(options.target, options.devices, options.processes)
    refused = "program"
    run = build.build(options, target=target)
    program = compilation.compiled(run)
  except jax.errors.JaxRuntimeError as error:
    reason = str(error).strip().splitlines()[0]
    raise ConfigError(f"--target={options.target}: XLA refuses the {refused}: {reason}") from error
  figures = compilation.report(run, chips.CHIPS[options.target], program)
  print("\n".join(compilation.lines(figures)))
  if options.json:
    cli.write(options.json, json.dumps(figures, indent=2) + "\n")
  return 0 if figures["fits"] else 1


if __name__ == "__main__":
  cli.run(main)
