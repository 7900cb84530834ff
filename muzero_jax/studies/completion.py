"""How much of a run is done, as far as its folder says."""

import os
from collections.abc import Sequence
from pathlib import Path

from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError
from muzero_jax.evaluation import aggregate, protocols
from muzero_jax.evaluation.aggregate import Evaluated
from muzero_jax.evaluation.scores import task_name
from muzero_jax.runs import jsonl, workdir


def evaluated(config: Config) -> Evaluated | None:
  """The newest evaluation of the run in `config.workdir` that a study of these settings asks for.

  Returns:
    That of the trained agent after all steps, under the protocol and over as many episodes as
    configured; None if there is none, or the run has other settings. So it is for a run with a file
    that cannot be read; resuming it says which file it is.
  """
  folder = Path(config.workdir)
  try:
    own, rows = workdir.load(folder), jsonl.read(folder / "evaluations.jsonl")
    protocol, _ = protocols.for_protocol(config, config.evaluation.protocol)
  except ConfigError:
    return None
  if configs.differences(own, config):
    return None
  wanted = {"protocol": protocol, "task": task_name(config.env.kind, config.env.task)}
  rows = [
    row
    for row in aggregate.complete(rows, "trained")
    if row.items() >= wanted.items()
    and row["env_steps"] >= config.env_steps
    and row["episodes"] >= config.evaluation.episodes
  ]
  return Evaluated(config.workdir, own, rows[-1]) if rows else None


def finished(config: Config) -> bool:
  """Whether the run in `config.workdir` was trained with these settings, and `evaluated`."""
  return evaluated(config) is not None


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


def evaluations(runs: Sequence[Config]) -> list[Evaluated]:
  """The evaluations of those runs that are `finished`."""
  return [found for run in runs if (found := evaluated(run))]


def done(config: Config) -> float:
  """The share of the run in `config.workdir` that is done, in 0..1; 0 if no metrics can be read."""
  try:
    rows = jsonl.read(Path(config.workdir) / "metrics.jsonl")
  except ConfigError:
    return 0.0
  return min(1.0, rows[-1].get("env_steps", 0) / config.env_steps) if rows else 0.0
