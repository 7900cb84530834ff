"""The rules under which a run's agent is scored, and environments that follow them."""

import dataclasses

from muzero_jax import build
from muzero_jax.config import Config, ConfigError
from muzero_jax.evaluation.evaluator import Evaluator
from muzero_jax.types import Model, SearchFn


def for_protocol(config: Config, protocol: str) -> tuple[str, Config]:
  """How games are played to be scored: the protocol's name, and the configuration with its rules.

  Args:
    config: of the run.
    protocol: "100k", "machado", or "auto" for the one that has the run's action set; games other
      than Atari have one, "own".

  Raises:
    ConfigError: the run was trained on another action set than the protocol's.
  """
  if not build.is_atari(config):
    return "own", config
  full = config.env.full_action_set
  name = protocol if protocol != "auto" else ("machado" if full else "100k")
  if full != (name == "machado"):
    raise ConfigError(
      f"--protocol={name} is played with {'all 18' if name == 'machado' else 'the minimal set of'} "
      "actions, and this run was "
      f"trained with{'' if full else 'out'} --env.full_action_set: use "
      f"--protocol={'machado' if full else '100k'}."
    )
  rules = {"100k": dict(sticky=0.0, noop_max=30), "machado": dict(sticky=0.25, noop_max=1)}[name]
  env = dataclasses.replace(
    config.env, **rules, max_episode_steps=27000, life_loss_ends_return=False
  )
  return name, dataclasses.replace(config, env=env)


def make_evaluator(
  config: Config, search: SearchFn, model: Model, num_envs: int, offset: int = -1
) -> Evaluator:
  """An evaluator with games of its own; `offset` gives other games for the same seed."""
  environment = build.make_environment(
    config, num_pools=1, seed=build.env_seed(config.seed, offset), num_envs=num_envs
  )
  return Evaluator(environment, model, search, config.env.stack)
