"""Trains variants of a preset with one thing changed in each, and compares their scores.

muzero-jax ablation --preset=NAME --workdir=DIR [--seeds=5] [--flag=value ...]
    [--vary=NAME=VALUE,VALUE,... ...] [--ideas=NAME,...] [--only=NAME,...]

The unchanged preset is always trained, too. Each variant is trained with several seeds, one run
after the other, each in a separate process; the seeds of an environment written in JAX side by side
in one process. The table and the learning curves are written to
ablation.md and ablation.png in --workdir. The command can be stopped and started again: finished
runs are not repeated, and an interrupted run is resumed. If runs fail, the others are trained and
compared, and the exit code is 1.
"""

import dataclasses
from pathlib import Path

from launch import cli
from muzero_jax.config import Config, option
from muzero_jax.studies.variants import VARIANTS


@dataclasses.dataclass(frozen=True)
class Options(Config):
  """The settings of a run, and the variants and seeds to train."""

  seeds: int = option(5, "seeds of each variant: --seed and the following ones", minimum=1)
  parallel: int = option(
    1,
    "seeds trained at the same time, each with a GPU of its own if there are so many; those of "
    "environments written in JAX are trained together in any case",
    minimum=1,
  )
  vary: tuple = option(
    (),
    "a setting and its values, NAME=VALUE,VALUE,...: a variant for each value. It can be given "
    "several times: each is a sweep of its own",
  )
  ideas: str = option(
    "",
    "flag files of presets/ideas, with commas between: a variant for each; several joined by + are "
    "added together",
  )
  only: str = option(
    "",
    "named variants, with commas between; without --vary and --ideas the default is all of "
    f"{', '.join(VARIANTS)}",
  )


def main(argv: list[str]) -> None:
  """Trains the runs that are missing; prints and writes the table after each variant."""
  from muzero_jax import flags
  from muzero_jax.studies import ablation, completion, series, variants

  options = flags.parse(argv, Options(), usage=__doc__)
  only, ideas = flags.listed(options.only), flags.listed(options.ideas)
  seeds = range(options.seed, options.seed + options.seeds)
  base = series.base(options, seeds)
  compared = variants.comparison(base, only, options.vary, ideas)
  for sentence in compared.left_out:
    print(sentence)
  progress = series.SeriesProgress(len(compared.variants) * len(seeds))
  print(f"{len(compared.variants)} variants, seeds {list(seeds)}: {progress.runs} runs", flush=True)
  rows, place = {}, Path(base.workdir)
  for name, config in compared.variants.items():
    runs = variants.runs(config, name, base.workdir, seeds)
    series.train(series.groups(runs), progress, options.parallel)
    if evaluations := completion.evaluations(runs):
      rows[name] = ablation.score(evaluations)
    if rows:
      print(ablation.table(rows), flush=True)
      ablation.write(place, rows, compared.variants, progress.failed)
  if rows:
    print(f"table: {place / 'ablation.md'}  curves: {place / 'ablation.png'}", flush=True)
  series.check(progress.failed)


if __name__ == "__main__":
  cli.run(main)
