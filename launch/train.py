"""Trains an agent, or resumes the run in --workdir if there is one.

muzero-jax train --preset=NAME --workdir=DIR [--flag=value ...]
muzero-jax train --preset=NAME --workdir=DIR --seeds=N [--flag=value ...]
muzero-jax train --workdir=DIR [--env_steps=N]

With --seeds, N runs are trained side by side in one program, in DIR/SEED, each as if it were alone.
Without --preset and --flagfile, the settings that no flag names are those of the run in --workdir,
if there is one: the last line goes on with a run as it was, or makes it longer.
"""

import dataclasses

from launch import cli
from muzero_jax import config as configs
from muzero_jax.config import Config, option


@dataclasses.dataclass(frozen=True)
class Options(Config):
  """The settings of a run, and how many of them to train."""

  seeds: int = option(
    1,
    "train so many runs side by side, with --seed and the following seeds; for environments "
    "written in JAX",
    minimum=1,
  )


def main(argv: list[str]) -> int:
  """Trains; returns the exit code."""
  from muzero_jax import flags, rules
  from muzero_jax.runs import workdir

  options = flags.parse(argv, Options(), usage=__doc__)
  names = flags.names(argv)
  whole = names & {"preset", "flagfile"}  # they stand for all settings of a run
  new = any(not name.startswith((*configs.FREE, "seeds")) for name in names)
  place = options.workdir
  several = options.seeds > 1 or "seeds" in names
  if several and place:
    place += f"/{options.seed}"
  own = None if whole else workdir.own_settings(dataclasses.replace(options, workdir=place), new)
  if own:
    print(f"settings: those of the run in {place}", flush=True)
    own = configs.replace(own, {"workdir": options.workdir})
    options = flags.parse(argv, Options(**configs.fields(own)))
  config = configs.of_run(options)
  rules.check(config)
  cli.use_devices(config.cpu_devices)
  if several:
    from muzero_jax import together

    return together.train(config, range(config.seed, config.seed + options.seeds))
  from muzero_jax import train

  return train.train(config)


if __name__ == "__main__":
  cli.run(main)
