"""The package from Python: settings, a run, and the agent it leaves (docs/library.md)."""

import contextlib
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from muzero_jax import config as configs
from muzero_jax import flags, train
from muzero_jax.config import Config
from muzero_jax.runs import restore
from muzero_jax.runs.restore import Agent


@contextlib.contextmanager
def _quiet_orbax() -> Iterator[None]:
  """Meanwhile it does not report every step of its work as a warning."""
  logger = logging.getLogger("absl")
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    yield
  finally:
    logger.setLevel(level)


def make_config(preset: str = "", **settings: Any) -> Config:
  """The settings of a run, as a command line would give them.

  Args:
    preset: a name of `flags.presets()`; "" for the defaults.
    **settings: changes, by the names of flags: `env_steps=2000`, `**{"search.kind": "puct"}`.

  Raises:
    ConfigError: there is no such preset or setting, or a value cannot be.
  """
  words = [f"--preset={preset}"] if preset else []
  words += [f"--{name}={value}" for name, value in settings.items()]
  config = flags.parse(["make_config", *words], Config())
  configs.check(config)
  return config


@_quiet_orbax()
def train_agent(config: Config) -> Agent:
  """Runs, or goes on with, what the settings describe; `config.workdir` holds all that comes of it.

  On the CPU it makes `config.cpu_devices` virtual devices if nothing was computed with JAX before;
  else it takes the devices that there are.

  Returns:
    The agent at the end.

  Raises:
    ConfigError: what was asked for cannot be done.
    DivergedError: the loss is no number any more.
    KeyboardInterrupt, SystemExit: a SIGINT or SIGTERM stopped the run, which has saved itself.
  """
  try:
    jax.config.update("jax_num_cpu_devices", config.cpu_devices)
  except RuntimeError:
    pass  # JAX has started
  code = train.train(config)
  if code == 128 + signal.SIGINT:
    raise KeyboardInterrupt
  if code:
    raise SystemExit(code)
  return load_agent(config.workdir)


@_quiet_orbax()
def load_agent(workdir: str | Path) -> Agent:
  """The agent of the newest checkpoint in a run's folder, also while the run goes on.

  Raises:
    ConfigError: there is no run in the folder, or no checkpoint yet.
  """
  return restore.restore(str(workdir))
