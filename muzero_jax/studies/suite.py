"""A suite: the runs that it trains, one for each game and seed, and their scores over games."""

import json
from collections.abc import Sequence
from pathlib import Path

from muzero_jax import build, flags, rules
from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError
from muzero_jax.evaluation import aggregate
from muzero_jax.evaluation.scores import references, task_name
from muzero_jax.reporting import page
from muzero_jax.runs import workdir
from muzero_jax.studies import completion

MINATAR = tuple(f"{game}-MinAtar" for game in ("Asterix", "Breakout", "Freeway", "SpaceInvaders"))


def runs_of(base: Config, games: str, seeds: Sequence[int]) -> list[Config]:
  """The runs of a suite, in the folders DIR/GAME/SEED.

  Args:
    base: the settings that all runs have; DIR is its `workdir`.
    games: see `tasks`.
    seeds: of each game.

  Raises:
    ConfigError: a game does not exist, or the settings do not fit it.
  """
  runs = [
    configs.replace(
      base, {"env.task": game, "seed": seed, "workdir": f"{base.workdir}/{game}/{seed}"}
    )
    for game in tasks(games, base.env.kind)
    for seed in seeds
  ]
  played = {config.env.task for config in runs}
  if len({task_name(base.env.kind, task) for task in played}) < len(played):
    raise ConfigError(
      f"--games={games}: --env.kind={base.env.kind} is one game, whatever its name; name one."
    )
  for config in runs:
    rules.check(config)
    build.check_task(config)
  return runs


def tasks(games: str, kind: str) -> list[str]:
  """The tasks that --games names.

  Args:
    games: names of games or of sets of them, with commas between.
    kind: of the preset's environments.

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


def check_index(index: int, count: int, *, submitted: bool) -> None:
  """Checks --index, which names one of `count` runs; below 0 it names all.

  Raises:
    ConfigError: there is no such run, or it is named beside --submit, which hands over all of them.
  """
  if submitted and index >= 0:
    raise ConfigError(
      f"--index={index}: --submit hands over all runs that are not finished; leave it out."
    )
  if index >= count:
    raise ConfigError(f"--index={index}: there are {count} runs; use 0 to {count - 1}.")


def score(runs: Sequence[Config], place: Path) -> None:
  """Scores the runs over games: prints the table, and writes suite.json and report.html.

  Args:
    runs: those that are not finished are left out; if none is, nothing is done.
    place: the suite's folder.
  """
  evaluations = completion.evaluations(runs)
  if not evaluations:
    return
  result = aggregate.aggregate(evaluations)
  print(aggregate.table(result))
  workdir.write(place / "suite.json", json.dumps(result, indent=2) + "\n")
  report = page.write([run.folder for run in evaluations], place / "report.html")
  print(f"scores: {place / 'suite.json'}  report: {report}", flush=True)
