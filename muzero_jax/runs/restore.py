"""A trained agent from a run's folder, on one device, whatever it was trained on."""

import dataclasses
from pathlib import Path

from muzero_jax import experiment
from muzero_jax.config import Config, ConfigError
from muzero_jax.runs import workdir
from muzero_jax.runs.checkpoint import Checkpoints
from muzero_jax.search.base import Search
from muzero_jax.types import Model, Params


@dataclasses.dataclass(frozen=True)
class Agent:
  """What it takes to play."""

  folder: Path
  config: Config
  model: Model
  search: Search
  params: Params  # of the model
  env_steps: int  # agent steps it was trained for


def restore(folder: str) -> Agent:
  """The agent of the newest checkpoint.

  Raises:
    ConfigError: there is no run in the folder, or no checkpoint yet.
  """
  path, config = workdir.find(folder)
  env_steps = newest(folder)
  with Checkpoints(path, read_only=True) as checkpoints:
    run = experiment.build(dataclasses.replace(config, env=dataclasses.replace(config.env, num_envs=1)))
    shared = checkpoints.restore(learner=run.shared())["learner"]
  return Agent(path, config, run.loop.model, run.loop.search, shared.learner.variables, env_steps)


def newest(folder: str) -> int:
  """The agent steps of the newest checkpoint.

  Raises:
    ConfigError: there is no run in the folder, or no checkpoint yet.
  """
  path, _ = workdir.find(folder)
  if (path / "checkpoints").exists():
    with Checkpoints(path, read_only=True) as checkpoints:
      env_steps = checkpoints.latest()
    if env_steps is not None:
      return env_steps
  raise ConfigError(f"--workdir={folder}: the run has no checkpoint yet.")
