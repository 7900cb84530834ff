"""Writes a run's newest agent to one file from which it acts anywhere, and a model card beside it.

muzero-jax export --workdir=DIR [--output=FILE.npz]

`muzero_jax.load_agent(FILE)` loads it, and --workdir=FILE of evaluate and video takes it. The card,
FILE.md, says what it is and how well it plays, as far as the run was evaluated.
"""

import dataclasses

from launch import cli
from muzero_jax.config import option


@dataclasses.dataclass(frozen=True)
class Options:
  workdir: str = option("", "folder of the run")
  output: str = option("", "the file; empty: agent.npz in the run's folder")


def main(argv: list[str]) -> None:
  """Writes the agent and its card."""
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  cli.use_devices(1)
  from muzero_jax import api

  path = api.export_agent(options.workdir, options.output)
  print(f"agent: {path} ({path.stat().st_size / 1e6:.1f} MB)  card: {path.with_suffix('.md')}")


if __name__ == "__main__":
  cli.run(main)
