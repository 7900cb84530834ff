"""Trains an agent on several games with several seeds, and scores all of them together.

muzero-jax suite --games=atari26|atari57|minatar|NAME,... --preset=NAME --workdir=DIR [--seeds=5]
    [--flag=value ...]

The runs, in DIR/GAME/SEED, are trained one after the other, each in a separate process, or
--parallel=N of them at the same time; the seeds of a game written in JAX are trained side by side
in one process. The command can be stopped and
started again: finished runs are not repeated, and an interrupted run is resumed. When all are
finished it prints the scores over games and writes DIR/suite.json and DIR/report.html. With
--index=I only the I-th run is trained, so that a cluster's scheduler can start all of them;
--submit=slurm hands those that are not finished to SLURM, as an array.
"""

import dataclasses
import json

from launch import cli
from muzero_jax import rules
from muzero_jax.config import Config, ConfigError, option
from muzero_jax.runs import workdir
from muzero_jax.studies import games, series, submission


@dataclasses.dataclass(frozen=True)
class Options(Config):
  """The settings of all runs, and the games and seeds."""

  games: str = option(
    "",
    "games to train on, with commas between; atari26: those of the benchmark of 100,000 steps; "
    "atari57: those with published scores of random play and people; minatar: those of gymnax",
  )
  seeds: int = option(5, "seeds of each game: --seed and the following ones", minimum=1)
  parallel: int = option(
    1, "processes at the same time, each with a GPU of its own if there are so many", minimum=1
  )
  index: int = option(-1, "train only this run, counted from 0, and score nothing; -1: all")
  submit: str = option(
    "",
    "hand unfinished runs to submitit; slurm: as an array, and score nothing; local: "
    "all at the same time on this machine; debug: one after the other",
    choices=("", "slurm", "local", "debug"),
  )
  submit_options: str = option(
    "",
    "parameters of submitit with commas between, for example "
    "timeout_min=1440,slurm_partition=gpu,gpus_per_node=1",
  )


def main(argv: list[str]) -> None:
  """Trains what is missing, then scores."""
  options, runs = planned(argv)
  if options.submit:
    command = submission.python("launch.suite", argv[1:])
    place = workdir.place(options.workdir) / "jobs"
    if submission.hand_over(runs, command, place, options.submit, options.submit_options):
      score(options.workdir, [config.workdir for config in runs])
    return
  asked = runs if options.index < 0 else runs[options.index : options.index + 1]
  pace = series.Pace(len(asked))
  print(f"{len(runs)} runs" + (f", of which number {options.index}" * (options.index >= 0)))
  series.train(series.groups(asked), pace, options.parallel)
  if options.index < 0:
    score(options.workdir, [config.workdir for config in runs])


def planned(argv: list[str]) -> tuple[Options, list[Config]]:
  """The command line, and the runs that it asks for.

  Raises:
    ConfigError: it is invalid; nothing has been trained yet.
  """
  from muzero_jax import build, flags

  options = flags.parse(argv, Options(), usage=__doc__)
  base = series.base(options)
  seeds = range(options.seed, options.seed + options.seeds)
  runs = games.runs(base, games.tasks(options.games, base.env.kind), seeds)
  for config in runs:
    rules.check(config)
    build.check_task(config)
  if options.submit and options.index >= 0:
    raise ConfigError(
      f"--index={options.index}: --submit hands over all runs that are not finished; leave it out."
    )
  if options.index >= len(runs):
    raise ConfigError(
      f"--index={options.index}: there are {len(runs)} runs; use 0 to {len(runs) - 1}."
    )
  return options, runs


def score(folder: str, folders: list[str]) -> None:
  """Prints the scores over games, and writes suite.json and report.html."""
  from muzero_jax.evaluation import aggregate
  from muzero_jax.reporting import page

  result = aggregate.aggregate(
    [aggregate.last_evaluation(run, "trained", "auto") for run in folders]
  )
  print(aggregate.table(result))
  place = workdir.place(folder)
  cli.write(str(place / "suite.json"), json.dumps(result, indent=2) + "\n")
  report = page.write(folders, place / "report.html")
  print(f"scores: {place / 'suite.json'}  report: {report}", flush=True)


if __name__ == "__main__":
  cli.run(main)
