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
from typing import Any

from launch import cli
from muzero_jax.config import Config, ConfigError, option

# Settings that can be given beside those of the run in --workdir.
OWN = ("workdir", "seed", "steps", "fps")


@dataclasses.dataclass(frozen=True)
class Options(Config):
  """What to play, and how fast."""

  steps: int = option(0, "agent steps after which the game stops; 0: no limit", minimum=0)
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
  from muzero_jax.evaluation import playing, scores, window
  from muzero_jax.evaluation.panel import Panel

  config, agent = settings(options)
  task = scores.task_name(config.env.kind, config.env.task)
  with window.opened(f"{task} - muzero_jax") as screen:
    seat, keyboard, names = seated(config, agent)
    print(keyboard.help(), flush=True)
    fps = options.fps or speed(config)
    draw = Panel(task, keyboard.help(), names).draw
    episodes = playing.play(seat, screen, keyboard, draw, fps=fps, most=options.steps)
  for score, steps, over in episodes:
    print(f"score {score:g} in {steps:,} steps" + ("" if over else ", not over"))


def settings(options: Options) -> tuple[Config, Any]:
  """The settings to play with, and the agent of --workdir; None without it.

  The rules are those of the agent's evaluation, and all 18 actions are those of a joystick.
  """
  from muzero_jax import build
  from muzero_jax import config as configs
  from muzero_jax.evaluation import protocols
  from muzero_jax.runs import exported

  agent = exported.load(options.workdir) if options.workdir else None
  config = agent.config if agent else configs.of_run(options)
  config = configs.replace(config, {"seed": options.seed})
  _, config = protocols.for_protocol(config, config.evaluation.protocol)
  atari = build.is_atari(config)
  return configs.replace(config, {"env.full_action_set": True}) if atari else config, agent


def seated(config: Config, agent: Any) -> tuple[Any, Any, tuple[str, ...]]:
  """The person's seat and keyboard, and the names of the agent's actions."""
  import jax

  from muzero_jax import build
  from muzero_jax.envs import actions, envpool
  from muzero_jax.evaluation.evaluator import Evaluator
  from muzero_jax.evaluation.keyboard import Keyboard
  from muzero_jax.evaluation.playing import Seat

  seed = build.env_seed(config.seed, -3)  # -1 and below -1: evaluations and videos
  environment = build.make_environment(config, num_pools=1, seed=seed, num_envs=1)
  atari = build.is_atari(config)
  renderer = envpool.renderer(config.env.task, seed, build.atari(config)) if atari else None
  key = jax.random.key(config.seed)
  given: dict[str, Any] = {}
  if agent:
    search = agent.search.for_evaluation()
    evaluator = Evaluator(environment, agent.model, search, config.env.stack)
    given = dict(evaluator=evaluator, params=agent.params, discount=agent.config.targets.discount)
  seat = Seat(environment, key, renderer=renderer, **given)
  count = environment.spec.num_actions
  keyboard = Keyboard(actions.playable(config.env.kind, config.env.task, count), count)
  names = build.action_names(agent.config, agent.spec.num_actions) if agent else ()
  return seat, keyboard, names


def speed(config: Config) -> float:
  """Agent steps per second: Atari's true speed; 0 for other games, which wait for a key."""
  from muzero_jax import build
  from muzero_jax.evaluation.scoring import FRAMES_PER_SECOND

  frames = build.frames_per_step(config)
  return FRAMES_PER_SECOND / frames if frames else 0.0


if __name__ == "__main__":
  cli.run(main)
