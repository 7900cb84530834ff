"""Evaluation protocols: the environment settings under which agents are scored."""

import dataclasses

from muzero_jax import build
from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError
from muzero_jax.envs import envpool
from muzero_jax.evaluation.evaluator import Evaluator
from muzero_jax.types import Model, SearchFn

# The rules of "machado", but with the actions that the game uses in place of all 18. Scores are not
# comparable with those of "machado", so the name is another one.
MINIMAL = "machado-minimal"
# What a protocol's name ends in where the agent acts as in training (--evaluation.acting=sampled).
SAMPLED = "-sampled"


def for_protocol(config: Config, protocol: str) -> tuple[str, Config]:
  """Changes a run's configuration to the environment settings of an evaluation protocol.

  Args:
    config: the run's configuration.
    protocol: "100k", "machado", or "auto" for the one with the action set that the run was trained
      on. Ignored for environments other than Atari, whose only protocol is "own": the run's own
      settings.

  Returns:
    The protocol's name and the changed configuration. The name is `MINIMAL` where an agent of the
    minimal action set plays "machado", unless the game uses all 18 actions: then the sets are the
    same. It ends in `SAMPLED` where the agent acts as in training.

  Raises:
    ConfigError: the run was trained on all 18 actions, and the protocol has only those that the
      game uses.
  """
  suffix = SAMPLED if sampled(config) else ""
  if not build.is_atari(config):
    return f"own{suffix}", config
  full = config.env.full_action_set
  name = protocol if protocol != "auto" else ("machado" if full else "100k")
  rules = {"100k": dict(sticky=0.0, noop_max=30), "machado": dict(sticky=0.25, noop_max=1)}[name]
  if full != (name == "machado") and not envpool.uses_all_actions(config.env.task):
    if full:
      raise ConfigError(
        f"--protocol={name} is played with the minimal set of actions, and this run was trained "
        "with --env.full_action_set: use --protocol=machado."
      )
    name = MINIMAL
  env = dataclasses.replace(
    config.env, **rules, max_episode_steps=27000, life_loss_ends_return=False
  )
  return f"{name}{suffix}", dataclasses.replace(config, env=env)


def sampled(config: Config) -> bool:
  """Whether the agent is scored as it acts in training, not greedily."""
  return config.evaluation.acting == "sampled"


def is_sampled(name: str) -> bool:
  """Whether a protocol's name, as `for_protocol` returns it, says that the agent was sampled."""
  return name.endswith(SAMPLED)


def acting_as(config: Config, acting: str) -> Config:
  """The configuration with --evaluation.acting replaced; as it is for "auto"."""
  return config if acting == "auto" else configs.replace(config, {"evaluation.acting": acting})


def make_evaluator(
  config: Config, search: SearchFn, model: Model, num_envs: int, offset: int = -1
) -> Evaluator:
  """Makes an evaluator with environments of its own.

  Args:
    config: the configuration that `for_protocol` returned.
    search: chooses the actions.
    model: the agent's network.
    num_envs: environments that are stepped at the same time.
    offset: environments with different offsets are seeded differently (`build.env_seed`).
  """
  environment = build.make_environment(
    config, num_pools=1, seed=build.env_seed(config.seed, offset), num_envs=num_envs
  )
  return Evaluator(environment, model, search, config.env.stack)
