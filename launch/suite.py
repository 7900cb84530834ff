"""Trains an agent on several games with several seeds, and scores all of them together.

muzero-jax suite --games=atari26|atari57|minatar|NAME,... --preset=NAME --workdir=DIR [--seeds=5]
    [--flag=value ...]

The runs, in DIR/GAME/SEED, are trained one after the other, each in a separate process, or
--parallel=N of them at the same time; the seeds of a game written in JAX are trained side by side
in one process. The command can be stopped and started again: finished runs are not repeated, and an
interrupted run is resumed. At the end it prints the scores over games and writes DIR/suite.json and
DIR/report.html. If runs fail, the others are trained and scored, and the exit code is 1. With
--index=I only the I-th run is trained, so that a cluster's scheduler can start all of them;
--submit=slurm hands those that are not finished to SLURM, as an array.
"""

import dataclasses
from pathlib import Path

from launch import cli
from muzero_jax.config import Config, option


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
    "timeout_min=1440,slurm_partition=gpu,gpus_per_node=1; timeout_min is a day if not named",
  )


def main(argv: list[str]) -> None:
  """Trains what is missing, then scores."""
  from muzero_jax import flags
  from muzero_jax.studies import series, submission, suite

  options = flags.parse(argv, Options(), usage=__doc__)
  seeds = range(options.seed, options.seed + options.seeds)
  base = series.base(options, seeds)
  runs = suite.runs_of(base, options.games, seeds)
  suite.check_index(options.index, len(runs), submitted=bool(options.submit))
  place = Path(base.workdir)
  if options.submit:
    command = submission.python("launch.suite", argv[1:])
    jobs = place / "jobs"
    failed = submission.hand_over(runs, command, jobs, options.submit, options.submit_options)
    if failed is None:
      return
  else:
    asked = runs if options.index < 0 else [runs[options.index]]
    print(f"{len(runs)} runs" + (f", of which number {options.index}" * (options.index >= 0)))
    progress = series.SeriesProgress(len(asked))
    series.train(series.groups(asked), progress, options.parallel)
    failed = progress.failed
  if options.index < 0:
    suite.score(runs, place)
  series.check(failed)


if __name__ == "__main__":
  cli.run(main)
