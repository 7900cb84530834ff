"""Restores a trained agent from a run's folder to one device, however many it was trained on."""

import dataclasses
from pathlib import Path
from typing import Any

import jax

from muzero_jax import build
from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError
from muzero_jax.envs.base import Spec
from muzero_jax.player import Player
from muzero_jax.runs import workdir
from muzero_jax.runs.checkpoint import Checkpoints
from muzero_jax.runs.saved import Saved
from muzero_jax.search.base import Search
from muzero_jax.types import Model, Params, T


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
    return Player(
      self.model,
      self.search.for_evaluation(),
      self.params,
      self.spec,
      self.config.env.stack,
      seed,
      discount=self.config.targets.discount,
      names=build.action_names(self.config, self.spec.num_actions),
    )

  def envpool_options(self) -> dict[str, Any]:
    """Keyword arguments of `envpool.make` for Atari as in training; {} for other environments."""
    return build.atari(self.config).options() if build.is_atari(self.config) else {}


def restore(folder: str) -> Agent:
  """Restores the agent of a run's newest checkpoint.

  Parameters and steps are of the same checkpoint. Where the newest is damaged, a line says so, and
  the one before it is used.

  Raises:
    ConfigError: the folder has no run, or the run has no checkpoint yet, or only damaged ones.
  """
  path, config = workdir.find(folder)

  def read(saved: Saved) -> Agent:
    # Totals need not be divisible by the number of devices here.
    small = {"env.num_envs": 1, "env.total_envs": 0, "learner.total_batch_size": 0}
    run = build.build(configs.replace(config, small))
    shared = saved.learner(run.shared())
    params = jax.device_put(jax.device_get(shared.learner.variables), jax.local_devices()[0])
    loop, steps = run.loop, saved.env_steps
    return Agent(path, config, loop.model, loop.search, params, steps, loop.environment.spec)

  return _found(Checkpoints(path, read_only=True).load(read, items=("learner",)), folder)


def newest(folder: str) -> int:
  """The agent steps of a run's newest checkpoint that is not damaged.

  Raises:
    ConfigError: the folder has no run, or the run has no checkpoint yet, or only damaged ones.
  """
  path, _ = workdir.find(folder)
  checkpoints = Checkpoints(path, read_only=True)
  steps = checkpoints.load(lambda saved: saved.env_steps, items=("learner",), quiet=True)
  return _found(steps, folder)


def _found(loaded: T | None, folder: str) -> T:
  if loaded is None:
    raise ConfigError(f"--workdir={folder}: the run has no checkpoint yet.")
  return loaded
