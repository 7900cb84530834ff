"""Records a video of an episode played by a run's newest checkpoint.

muzero-jax video --workdir=DIR [--seed=N]

The file is video/STEPS.mp4 in the run's folder.
"""

import dataclasses

from launch import cli
from muzero_jax.config import option


@dataclasses.dataclass(frozen=True)
class Options:
  """What to record."""

  workdir: str = option("", "folder of the run")
  seed: int = option(
    0, "added to the run's seed, to play another episode", minimum=0, maximum=2**20
  )


def main(argv: list[str]) -> None:
  """Restores the agent and records the video."""
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
