"""Lets you play a game yourself, in a window; beside it stands what an agent thinks of each step.

muzero-jax play --env.task=Breakout-v5 [--flag=value ...]
muzero-jax play --preset=catch
muzero-jax play --workdir=DIR [--seed=N]

Any environment that flags or a run name. With --workdir, a run's folder or the file of an exported
agent, the agent thinks along: its policy before and after the search, its value, and Q. Atari runs
at its true speed; other games wait for a key at each step. It needs pygame:
pip install 'muzero_jax[play]'.
"""

import dataclasses

from launch import cli
from muzero_jax.config import Config, ConfigError, option

# Settings that can be given beside those of the run in --workdir.
OWN = ("workdir", "seed", "steps", "fps")


@dataclasses.dataclass(frozen=True)
class Options(Config):
  """What to play, and how fast."""

  steps: int = option(0, "agent steps after which playing stops; 0: no limit", minimum=0)
  fps: float = option(
    0.0,
    "agent steps per second; 0: the true speed of Atari, and other games wait for a key",
    minimum=0,
    maximum=240,
  )


def main(argv: list[str]) -> None:
  """Opens the window and lets a person play; prints the scores."""
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  others = [name for name in flags.names(argv) if name not in OWN]
  if options.workdir and others:
    raise ConfigError(
      f"--{others[0]}: with --workdir the game is that of its agent; leave out one of the two."
    )
  cli.use_devices(1)
  from muzero_jax import config as configs
  from muzero_jax.evaluation import scores
  from muzero_jax.playing import seat, seating, window
  from muzero_jax.playing.panel import Panel

  config, agent = seating.settings(configs.of_run(options))
  task = scores.task_name(config.env.kind, config.env.task)
  with window.opened(f"{task} - muzero_jax") as screen:
    place, keyboard, names = seating.seated(config, agent)
    print(keyboard.help(), flush=True)
    fps = options.fps or seating.speed(config)
    draw = Panel(task, keyboard.help(), names).draw
    episodes = seat.play(place, screen, keyboard, draw, fps=fps, most=options.steps)
  for score, steps, over in episodes:
    print(f"score {score:g} in {steps:,} steps" + ("" if over else ", not over"))


if __name__ == "__main__":
  cli.run(main)
