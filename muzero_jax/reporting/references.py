"""Learning curves to compare a run with: of presets, from runs of our own, and of published agents.

`references/PRESET.csv` has a row for each interval in which training episodes ended: seed, agent
steps at its end, and the mean return of these episodes, as metrics.jsonl has them.

`published.csv` has the mean return of training episodes of DQN, Rainbow and IQN in Dopamine (Castro
et al. 2018; Apache-2.0) on 55 Atari games, by millions of frames: of the last million before that
many frames, and of five seeds. These agents play with sticky actions.
"""

import csv
import dataclasses
import functools
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np

from muzero_jax import config as configs
from muzero_jax import flags
from muzero_jax.config import Config
from muzero_jax.runs import history
from muzero_jax.runs.history import Line, RunRecord

# Settings in which a run may differ from the preset: they change neither the game nor the learning.
_OTHER = ("seed", "env.backend", *configs.FREE)


@dataclasses.dataclass(frozen=True)
class Reference:
  """The curves of a preset, one for each seed: agent steps, and returns of training episodes."""

  preset: str
  seeds: list[Line]

  @property
  def name(self) -> str:
    """The preset and the number of seeds, in words."""
    count = len(self.seeds)
    return f"preset {self.preset}, {count} seed{'s' * (count > 1)}"

  def mean(self, until: float, points: int) -> Line | None:
    """The mean over seeds, up to a number of agent steps; None where there is nothing yet."""
    shared = history.resampled([history.thin(line, points) for line in self.seeds], points)
    if shared is None or shared[0][0] > until:
      return None
    x, y = shared[0], shared[1].mean(0)
    return x[x <= until], y[x <= until]

  def at(self, env_steps: int) -> list[float]:
    """The returns of the seeds at a number of agent steps (`newest`)."""
    found = (late(line, env_steps) for line in self.seeds)
    return [value for value in found if value is not None]


def late(line: Line, env_steps: int) -> float | None:
  """The mean return over the last tenth of this many agent steps; None where no episode ended."""
  x, y = line
  inside = y[(x > 0.9 * env_steps) & (x <= 1.001 * env_steps)]
  return float(inside.mean()) if len(inside) else None


def find(settings: Mapping[str, Any]) -> Reference | None:
  """The curves of the preset that has the given settings, by dotted name, if it has curves.

  All settings must be those of the preset, except for the seed, what may change when a run is
  resumed (its length, for example), and how a game is called. So the game is the same one.
  """
  for preset, own in _presets().items():
    if all(settings.get(name) == own[name] for name in own if not name.startswith(_OTHER)):
      return Reference(preset, _read(_FOLDER.joinpath(f"{preset}.csv")))
  return None


def published(settings: Mapping[str, Any], until: float) -> list[tuple[str, Line]]:
  """Curves of published agents on the run's Atari game: names, agent steps and training returns.

  Args:
    settings: of the run, by dotted name.
    until: agent steps at which the curves are cut off. A curve of one point is left out.
  """
  if settings.get("env.kind") != "envpool":
    return []
  found = []
  for agent, seeds, (frames, returns) in _published().get(settings["env.task"], []):
    steps = frames / settings["env.frame_skip"]
    inside = steps <= until
    if inside.sum() > 1:
      name = f"{agent} (Dopamine, {seeds} seeds, sticky actions)"
      found.append((name, (steps[inside], returns[inside])))
  return found


_FOLDER = resources.files("muzero_jax").joinpath("reporting/references")


@functools.cache
def _published() -> dict[str, list[tuple[str, int, Line]]]:
  """By game: agents, their numbers of seeds, and their returns by frames."""
  games: dict[str, list[tuple[str, int, Line]]] = {}
  with resources.files("muzero_jax").joinpath("reporting/published.csv").open() as file:
    for row in csv.DictReader(file):
      task, agent, seeds = row.pop("task"), row.pop("agent"), int(row.pop("seeds"))
      curve = np.array([*row], float) * 1e6, np.array([*row.values()], float)
      games.setdefault(task, []).append((agent, seeds, curve))
  return games


@functools.cache
def _presets() -> dict[str, dict[str, Any]]:
  """The settings, by dotted name, of the presets that have curves."""
  names = [path.name.removesuffix(".csv") for path in _FOLDER.iterdir()]
  parsed = {name: flags.parse(["find", f"--preset={name}"], Config()) for name in names}
  return {name: configs.values(config) for name, config in parsed.items()}


def _read(path: Any) -> list[Line]:
  """The curves in a file, by seed."""
  with path.open() as file:
    rows = [(row["seed"], row["env_steps"], row["return"]) for row in csv.DictReader(file)]
  found = np.asarray(rows, np.float64)
  return [found[found[:, 0] == seed, 1:].T for seed in np.unique(found[:, 0])]  # type: ignore


def sentence(run: RunRecord, env_steps: int) -> str:
  """What a run with these settings has come to at this point, and what this one has; or ""."""
  reference = find(run.settings)
  expected = reference.at(env_steps) if reference else []
  own = late(run.line("env_steps", "episode/return"), env_steps)
  if not reference or not expected or own is None:
    return ""
  low, high = min(expected), max(expected)
  extremes = f", {low:.2f} to {high:.2f}" if len(expected) > 1 else ""
  return (
    f"training return {own:.2f}; expected at {env_steps:,} steps: {np.mean(expected):.2f} "
    f"({reference.name}{extremes})."
  )
