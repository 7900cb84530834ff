"""Records a video of an episode played by a run's newest checkpoint.

muzero-jax video --workdir=DIR [--seed=N] [--plain] [--steps=N]

The game stands beside what the agent sees and thinks. The file is video/STEPS.mp4 in the run's
folder; a report made after it shows it, and search trees of some of its moments. For the file of an
exported agent, the folder is FILE.results.
"""

import dataclasses

from launch import cli
from muzero_jax.config import option


@dataclasses.dataclass(frozen=True)
class Options:
  workdir: str = option("", "folder of the run, or the file of an exported agent")
  seed: int = option(
    0, "added to the run's seed, to play another episode", minimum=0, maximum=2**20
  )
  plain: bool = option(False, "show the game alone")
  steps: int = option(4500, "agent steps after which the recording stops", minimum=1)
  fps: float = option(
    0.0, "agent steps per second; 0: the true speed of Atari, 5 elsewhere", minimum=0, maximum=240
  )


def main(argv: list[str]) -> None:
  """Restores the agent and records the video."""
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  cli.use_devices(1)
  from muzero_jax.evaluation import scoring
  from muzero_jax.runs import exported

  agent = exported.load(options.workdir)
  config = dataclasses.replace(agent.config, seed=agent.config.seed + options.seed)
  scoring.Scoring(config, agent.folder, agent.model, agent.search).record(
    agent.params, agent.env_steps, plain=options.plain, most=options.steps, fps=options.fps
  )


if __name__ == "__main__":
  cli.run(main)
