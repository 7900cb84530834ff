"""Restores a trained agent from a run's folder to one device, however many it was trained on."""

import dataclasses
from pathlib import Path
from typing import Any

import jax

from muzero_jax import build
from muzero_jax.config import Config, ConfigError
from muzero_jax.envs.base import Spec
from muzero_jax.player import Player
from muzero_jax.runs import workdir
from muzero_jax.runs.checkpoint import Checkpoints
from muzero_jax.search.base import Search
from muzero_jax.types import Model, Params


@dataclasses.dataclass(frozen=True)
class Agent:
  """A trained agent: its network, parameters, search and settings."""

  folder: Path
  config: Config
  model: Model
  search: Search
  params: Params  # of the model, on one device
  env_steps: int  # agent steps it was trained for
  spec: Spec  # of the environment that it was trained on; its num_envs has no meaning

  def player(self, seed: int = 0) -> Player:
    """A player that acts without exploration in environments that the caller steps."""
    search, stack = self.search.for_evaluation(), self.config.env.stack
    return Player(self.model, search, self.params, self.spec, stack, seed)

  def envpool_options(self) -> dict[str, Any]:
    """Keyword arguments of `envpool.make` for Atari as in training; {} for other environments."""
    return build.atari(self.config).options() if build.is_atari(self.config) else {}


def restore(folder: str) -> Agent:
  """Restores the agent of a run's newest checkpoint.

  Raises:
    ConfigError: the folder has no run, or the run has no checkpoint yet.
  """
  path, config = workdir.find(folder)
  env_steps = newest(folder)
  with Checkpoints(path, read_only=True) as checkpoints:
    run = build.build(dataclasses.replace(config, env=dataclasses.replace(config.env, num_envs=1)))
    shared = checkpoints.restore(learner=run.shared())["learner"]
  params = jax.device_put(jax.device_get(shared.learner.variables), jax.local_devices()[0])
  loop = run.loop
  return Agent(path, config, loop.model, loop.search, params, env_steps, loop.environment.spec)


def newest(folder: str) -> int:
  """The agent steps of a run's newest checkpoint.

  Raises:
    ConfigError: the folder has no run, or the run has no checkpoint yet.
  """
  path, _ = workdir.find(folder)
  if (path / "checkpoints").exists():
    with Checkpoints(path, read_only=True) as checkpoints:
      env_steps = checkpoints.latest()
    if env_steps is not None:
      return env_steps
  raise ConfigError(f"--workdir={folder}: the run has no checkpoint yet.")
