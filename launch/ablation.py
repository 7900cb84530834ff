"""Trains variants of a preset with one thing changed in each, and compares their scores.

muzero-jax ablation --preset=NAME --workdir=DIR [--seeds=5] [--flag=value ...]
    [--vary=NAME=VALUE,VALUE,... ...] [--ideas=NAME,...] [--only=NAME,...]

The unchanged preset is always trained, too. Each variant is trained with several seeds, one run
after the other, each in a separate process; the seeds of an environment written in JAX side by side
in one process. The table and the learning curves are written to
ablation.md and ablation.png in --workdir. The command can be stopped and started again: finished
runs are not repeated, and an interrupted run is resumed.
"""

import dataclasses

from launch import cli
from muzero_jax import rules
from muzero_jax.config import Config, ConfigError, option
from muzero_jax.runs import workdir
from muzero_jax.studies import ablation, series
from muzero_jax.studies.ablation import BASE, VARIANTS, Plan


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
  options, plan = planned(argv)
  for sentence in plan.left_out:
    print(sentence)
  seeds = range(options.seed, options.seed + options.seeds)
  pace = series.Pace(len(plan.variants) * len(seeds))
  print(f"{len(plan.variants)} variants, seeds {list(seeds)}: {pace.runs} runs", flush=True)
  rows = {}
  for name, config in plan.variants.items():
    places = {seed: f"{options.workdir}/{ablation.folder_name(name)}/{seed}" for seed in seeds}
    runs = [dataclasses.replace(config, seed=seed, workdir=place) for seed, place in places.items()]
    series.train(series.groups(runs), pace, options.parallel)
    rows[name] = ablation.score(list(places.values()))
    print(ablation.table(rows), flush=True)
    write(options.workdir, rows, plan, list(seeds))
  place = workdir.place(options.workdir)
  print(f"table: {place / 'ablation.md'}  curves: {place / 'ablation.png'}", flush=True)


def planned(argv: list[str]) -> tuple[Options, Plan]:
  """The command line, and the variants that it asks for.

  Raises:
    ConfigError: it is invalid; nothing has been trained yet.
  """
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  base = series.base(options)
  rules.check(base)
  only, ideas = flags.listed(options.only), flags.listed(options.ideas)
  if not (only or options.vary or ideas):
    only = list(VARIANTS)
  plan = ablation.plan(base, only=only, vary=options.vary, ideas=ideas)
  if len(plan.variants) == 1 and only != [BASE]:
    raise ConfigError(
      f"nothing is left to compare the preset with ({'; '.join(plan.left_out)}): name other "
      "variants with --vary, --ideas or --only."
    )
  return options, plan


def write(folder: str, rows: dict, plan: Plan, seeds: list[int]) -> None:
  """Writes ablation.md and ablation.png."""
  from muzero_jax.reporting import plots

  place = workdir.place(folder)
  runs = {name: [place / ablation.folder_name(name) / str(seed) for seed in seeds] for name in rows}
  plots.draw_comparison(place / "ablation.png", runs)
  workdir.write(place / "ablation.md", ablation.document(rows, plan.variants, "ablation.png"))


if __name__ == "__main__":
  cli.run(main)
