"""Seats a person at the game that a run, or its settings, name."""

from typing import Any

import jax

from muzero_jax import build
from muzero_jax import config as configs
from muzero_jax.config import Config
from muzero_jax.envs import actions, envpool
from muzero_jax.evaluation import protocols
from muzero_jax.evaluation.evaluator import Evaluator
from muzero_jax.evaluation.scoring import FRAMES_PER_SECOND
from muzero_jax.playing.keyboard import Keyboard
from muzero_jax.playing.seat import Seat
from muzero_jax.runs import exported
from muzero_jax.runs.exported import Agent


def settings(given: Config) -> tuple[Config, Agent | None]:
  """The settings to play with, and the agent of `workdir`; None without it.

  The rules are those of the agent's evaluation, and all 18 actions are those of a joystick.
  """
  agent = exported.load(given.workdir) if given.workdir else None
  config = configs.replace(agent.config if agent else given, {"seed": given.seed})
  _, config = protocols.for_protocol(config, config.evaluation.protocol)
  atari = build.is_atari(config)
  return configs.replace(config, {"env.full_action_set": True}) if atari else config, agent


def seated(config: Config, agent: Agent | None) -> tuple[Seat, Keyboard, tuple[str, ...]]:
  """The person's seat and keyboard, and the names of the agent's actions."""
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
  frames = build.frames_per_step(config)
  return FRAMES_PER_SECOND / frames if frames else 0.0
