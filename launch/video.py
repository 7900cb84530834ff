"""Records a game played by a run's newest checkpoint: video/STEPS.mp4 in its folder.

muzero-jax video --workdir=DIR [--seed=N]
"""

import dataclasses

from launch import cli
from muzero_jax.config import option


@dataclasses.dataclass(frozen=True)
class Options:
  """What to record."""

  workdir: str = option("", "folder of the run")
  seed: int = option(0, "added to the run's: another game", minimum=0, maximum=2**20)


def main(argv: list[str]) -> None:
  """Reads the flags, restores, plays, writes."""
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  cli.use_devices(1)
  from muzero_jax.evaluation import scoring
  from muzero_jax.runs import restore

  agent = restore.restore(options.workdir)
  config = dataclasses.replace(agent.config, seed=agent.config.seed + options.seed)
  scoring.Scoring(config, agent.folder, agent.model, agent.search).record(
    agent.params, agent.env_steps
  )


if __name__ == "__main__":
  cli.run(main)
