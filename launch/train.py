"""Trains an agent, or resumes the run in --workdir if there is one.

muzero-jax train --preset=NAME --workdir=DIR [--flag=value ...]
muzero-jax train --workdir=DIR [--env_steps=N]

Without --preset and --flagfile, the settings that no flag names are those of the run in --workdir,
if there is one: the second line goes on with a run as it was, or makes it longer.

Several processes train one agent together if each is started with the same flags, --coordinator,
and a --process of its own (docs/clusters.md).
"""

import dataclasses
import os
import sys
from typing import Any

from launch import cli
from muzero_jax import config as configs
from muzero_jax.config import Config, option


@dataclasses.dataclass(frozen=True)
class Options(Config):
  """The settings of a run, and how this process finds those that it trains with."""

  coordinator: str = option(
    "",
    "several processes: address and port of process 0; auto: JAX finds all three of these by "
    "itself, with SLURM, Open MPI, Kubernetes and on a TPU pod",
  )
  processes: int = option(1, "several processes: their number", minimum=1)
  process: int = option(0, "several processes: the number of this one, from 0", minimum=0)


def main(argv: list[str]) -> int:
  """Trains; returns the exit code."""
  from muzero_jax import flags, rules
  from muzero_jax.device import distributed
  from muzero_jax.runs import workdir

  options = flags.parse(argv, Options(), usage=__doc__)
  config, place = split(options)
  names = flags.names(argv) - set(place)
  whole = names & {"preset", "flagfile"}  # they stand for all settings of a run
  new = any(not name.startswith(configs.FREE) for name in names)
  own = None if whole else workdir.own_settings(config, new)
  if own:
    config, _ = split(flags.parse(argv, Options(**vars(own))))
  rules.check(config)
  distributed.connect(**place)
  if not distributed.is_first():
    sys.stdout = open(os.devnull, "w")
  if own:
    print(f"settings: those of the run in {config.workdir}", flush=True)
  cli.use_devices(config.cpu_devices)
  from muzero_jax import train

  return train.train(config)


def split(options: Options) -> tuple[Config, dict[str, Any]]:
  """The settings of the run, and the other ones by name."""
  given = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
  own = {field.name for field in dataclasses.fields(Config)}
  config = Config(**{name: value for name, value in given.items() if name in own})
  return config, {name: value for name, value in given.items() if name not in own}


if __name__ == "__main__":
  cli.run(main)
