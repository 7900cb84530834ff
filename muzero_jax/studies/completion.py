"""How much of a run is done, as far as its folder says."""

import os
from collections.abc import Sequence
from pathlib import Path

from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError
from muzero_jax.runs import jsonl, workdir


def finished(config: Config) -> bool:
  """Whether the run in `config.workdir` has these settings and length, and was evaluated.

  A run with a file that cannot be read is not finished; resuming it says which file it is.
  """
  folder = Path(config.workdir)
  try:
    own, rows = workdir.load(folder), jsonl.read(folder / "evaluations.jsonl")
  except ConfigError:
    return False
  return not configs.differences(own, config) and any(
    row.get("agent") == "trained" and row.get("env_steps", 0) >= config.env_steps for row in rows
  )


def begun(config: Config) -> bool:
  """Whether there is a run in `config.workdir`, even a damaged one, that may have these settings.

  These can be used, then: what keeps that run from going on is its own.
  """
  folder = Path(config.workdir)
  try:
    own = workdir.load(folder)
  except ConfigError:
    return any(os.path.lexists(folder / name) for name in ("config.json", "checkpoints"))
  return config.override_config or not configs.differences(own, config)


def folders(runs: Sequence[Config]) -> list[str]:
  """The folders of those runs that are `finished`."""
  return [run.workdir for run in runs if finished(run)]


def done(config: Config) -> float:
  """The share of the run in `config.workdir` that is done, in 0..1; 0 if no metrics can be read."""
  try:
    rows = jsonl.read(Path(config.workdir) / "metrics.jsonl")
  except ConfigError:
    return 0.0
  return min(1.0, rows[-1].get("env_steps", 0) / config.env_steps) if rows else 0.0
