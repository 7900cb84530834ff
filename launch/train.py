"""Trains an agent, or resumes the run in --workdir if there is one.

muzero-jax train --preset=NAME --workdir=DIR [--flag=value ...]
muzero-jax train --workdir=DIR [--env_steps=N]

Without --preset and --flagfile, the settings that no flag names are those of the run in --workdir,
if there is one: the second line goes on with a run as it was, or makes it longer.
"""

from launch import cli


def main(argv: list[str]) -> int:
  """Trains; returns the exit code."""
  from muzero_jax import config as configs
  from muzero_jax import flags, rules
  from muzero_jax.runs import workdir

  config = flags.parse(argv, configs.Config(), usage=__doc__)
  names = flags.names(argv)
  whole = names & {"preset", "flagfile"}  # they stand for all settings of a run
  new = any(not name.startswith(configs.FREE) for name in names)
  own = None if whole else workdir.own_settings(config, new)
  if own:
    config = flags.parse(argv, own)
    print(f"settings: those of the run in {config.workdir}", flush=True)
  rules.check(config)
  cli.use_devices(config.cpu_devices)
  from muzero_jax import train

  return train.train(config)


if __name__ == "__main__":
  cli.run(main)
