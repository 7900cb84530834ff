"""Trains an agent, or resumes the run in --workdir if there is one.

muzero-jax train --preset=NAME --workdir=DIR [--flag=value ...]
muzero-jax train --preset=NAME --workdir=DIR --seeds=N [--flag=value ...]
muzero-jax train --workdir=DIR [--env_steps=N]

With --seeds, N runs are trained side by side in one program, in DIR/SEED, each as if it were alone.
Without --preset and --flagfile, the settings that no flag names are those of the run in --workdir,
if there is one: the last line goes on with a run as it was, or makes it longer.

Several processes train one agent together if each is started with the same flags, --coordinator,
and a --process of its own (docs/clusters.md).
"""

import dataclasses
import os
import sys

from launch import cli
from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError, option

PROCESS = ("coordinator", "processes", "process")  # settings of a process, not of a run


@dataclasses.dataclass(frozen=True)
class Options(Config):
  """The settings of a run, how many of them to train, and how several processes find each other."""

  seeds: int = option(
    1,
    "train so many runs side by side, with --seed and the following seeds; for environments "
    "written in JAX",
    minimum=1,
  )
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
  place = {name: getattr(options, name) for name in PROCESS}
  names = flags.names(argv) - place.keys()
  several = options.seeds > 1 or "seeds" in names
  if several and options.coordinator:
    raise ConfigError(
      "--seeds: runs side by side are trained by one process; leave out --coordinator."
    )
  whole = names & {"preset", "flagfile"}  # they stand for all settings of a run
  new = any(not name.startswith((*configs.FREE, "seeds")) for name in names)
  folder = options.workdir
  if several and folder:
    folder += f"/{options.seed}"
  own = None if whole else workdir.own_settings(dataclasses.replace(options, workdir=folder), new)
  if own:
    own = configs.replace(own, {"workdir": options.workdir})
    options = flags.parse(argv, Options(**configs.fields(own)))
  config = configs.of_run(options)
  rules.check(config)
  distributed.connect(**place)
  if not distributed.is_first():
    sys.stdout = open(os.devnull, "w")
  if own:
    print(f"settings: those of the run in {folder}", flush=True)
  cli.use_devices(config.cpu_devices)
  if several:
    from muzero_jax import together

    return together.train(config, range(config.seed, config.seed + options.seeds))
  from muzero_jax import train

  return train.train(config)


if __name__ == "__main__":
  cli.run(main)
