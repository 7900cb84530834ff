"""Trains an agent, or resumes the run in --workdir if there is one.

muzero-jax train --preset=NAME --workdir=DIR [--flag=value ...]
"""

from launch import cli


def main(argv: list[str]) -> int:
  """Trains; returns the exit code."""
  from muzero_jax import config as configs
  from muzero_jax import flags

  config = flags.parse(argv, configs.Config(), usage=__doc__)
  configs.check(config)
  cli.use_devices(config.cpu_devices)
  from muzero_jax import train

  return train.train(config)


if __name__ == "__main__":
  cli.run(main)
