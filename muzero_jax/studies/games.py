"""The games of a suite, by the names of benchmarks, and the runs that it trains."""

from collections.abc import Sequence

from muzero_jax import config as configs
from muzero_jax import flags
from muzero_jax.config import Config, ConfigError
from muzero_jax.evaluation.scores import references

MINATAR = tuple(f"{game}-MinAtar" for game in ("Asterix", "Breakout", "Freeway", "SpaceInvaders"))


def tasks(games: str, kind: str) -> list[str]:
  """The tasks that --games names.

  Raises:
    ConfigError: it names none, or games that the preset's environments do not have.
  """
  names = flags.listed(games)
  if not names:
    raise ConfigError("--games is missing: name games, or use atari26, atari57 or minatar.")
  known = references()
  sets = {
    "atari26": ("envpool", [name for name, scores in known.items() if "muzero_100k" in scores]),
    "atari57": ("envpool", list(known)),
    "minatar": ("gymnax", list(MINATAR)),
  }
  found: list[str] = []
  for name in names:
    needed, members = sets.get(name, (kind, [name]))
    if needed != kind:
      raise ConfigError(
        f"--games={name}: these are games of --env.kind={needed}, and the preset has {kind}; use a "
        "preset with such an environment."
      )
    found += members
  return list(dict.fromkeys(found))


def runs(base: Config, tasks: Sequence[str], seeds: Sequence[int]) -> list[Config]:
  """The settings of every task with every seed; the folders are WORKDIR/TASK/SEED."""
  return [
    configs.replace(
      base, {"env.task": task, "seed": seed, "workdir": f"{base.workdir}/{task}/{seed}"}
    )
    for task in tasks
    for seed in seeds
  ]
