"""Trains an agent, or goes on training it.

python -m launch.train --flagfile=launch/presets/NAME.flags --workdir=DIR [--flag=value ...]
"""

from launch import cli


def main(argv: list[str]) -> int:
  """Reads the flags, chooses the devices, trains."""
  from muzero_jax import flags, train

  config = flags.parse(argv, usage=__doc__)
  import jax

  jax.config.update("jax_num_cpu_devices", config.cpu_devices)
  return train.train(config)


if __name__ == "__main__":
  cli.run(main)
