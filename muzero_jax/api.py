"""The Python interface: make settings, train, load and export agents (docs/library.md)."""

import contextlib
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from muzero_jax import flags, rules, train
from muzero_jax.config import Config, StorageError
from muzero_jax.reporting import card
from muzero_jax.runs import exported, restore
from muzero_jax.runs import workdir as places
from muzero_jax.runs.restore import Agent


@contextlib.contextmanager
def _quiet_orbax() -> Iterator[None]:
  """Suppresses what Orbax logs: each step as a warning, and tracebacks of errors it raises, too."""
  logger = logging.getLogger("absl")
  level = logger.level
  logger.setLevel(logging.CRITICAL)
  try:
    yield
  finally:
    logger.setLevel(level)


def make_config(preset: str = "", **settings: Any) -> Config:
  """Makes the settings of a run, as the command line does.

  Args:
    preset: one of `flags.presets()`; "" for the defaults.
    **settings: changes to the preset, by name of the flag: `env_steps=2000`,
      `**{"search.kind": "puct"}`.

  Raises:
    ConfigError: there is no such preset or setting, a value has the wrong type or is out of range,
      or settings cannot be combined.
  """
  words = [f"--preset={preset}"] if preset else []
  words += [f"--{name}={value}" for name, value in settings.items()]
  config = flags.parse(["make_config", *words], Config())
  rules.check(config)
  return config


@_quiet_orbax()
def train_agent(config: Config) -> Agent:
  """Trains an agent, or resumes the run in `config.workdir`, where all results are written.

  On the CPU it uses `config.cpu_devices` virtual devices. If JAX is already initialized, it uses
  the devices that exist.

  Returns:
    The trained agent.

  Raises:
    ConfigError: the settings are invalid, or do not fit the run in the folder.
    DivergedError: gradient steps diverged, more of them than --skip_nonfinite allows.
    StorageError: the last checkpoint, or the outputs of the finished run, cannot be written.
    KeyboardInterrupt, SystemExit: SIGINT, or SIGTERM or SIGHUP, stopped the run; a checkpoint was
      saved.
  """
  try:
    jax.config.update("jax_num_cpu_devices", config.cpu_devices)
  except RuntimeError:
    pass  # JAX is already initialized
  code = train.train(config)
  if code == 128 + signal.SIGINT:
    raise KeyboardInterrupt
  if code:
    raise SystemExit(code)
  return load_agent(config.workdir)


@_quiet_orbax()
def load_agent(source: str | Path) -> Agent:
  """Loads an agent.

  Args:
    source: a file that `launch.export` wrote; or a run's folder, of whose newest checkpoint the
      agent is, even while the run is training.

  Raises:
    ConfigError: the file is no agent or is damaged; or the folder holds no run, no checkpoint yet,
      or only damaged ones.
  """
  return exported.load(source)


@_quiet_orbax()
def export_agent(workdir: str | Path, output: str | Path = "") -> Path:
  """Writes the agent of a run's newest checkpoint to one file, and a model card beside it.

  Args:
    workdir: the run's folder.
    output: the file; "": `agent.npz` in that folder. The card has the same name and ends in .md.

  Returns:
    The path of the file.

  Raises:
    ConfigError: the folder holds no run, no checkpoint yet, or only damaged ones.
    StorageError: the file or the card cannot be written.
  """
  agent = restore.restore(str(workdir))
  path = places.place(output or agent.folder / "agent.npz")
  known = exported.facts(agent)
  exported.write(agent, known, path)
  beside = path.with_suffix(".md")
  try:
    places.write(beside, card.text(agent, known, path.name))
  except OSError as error:
    raise StorageError(f"{beside} cannot be written ({error.strerror}).") from error
  return path
