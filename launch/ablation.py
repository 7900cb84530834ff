"""Trains variants of a preset with one thing changed in each, and compares their scores.

muzero-jax ablation --preset=NAME --workdir=DIR [--seeds=5] [--flag=value ...]
    [--vary=NAME=VALUE,VALUE,... ...] [--ideas=NAME,...] [--only=NAME,...]

The preset as it is is always trained, too. Each variant is trained with several seeds, one run
after the other, each in a separate process. The table and the learning curves are written to
ablation.md and ablation.png in --workdir. The command can be stopped and started again: finished
runs are not repeated, and an interrupted run is resumed.
"""

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from launch import cli
from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError, option
from muzero_jax.evaluation import ablation
from muzero_jax.evaluation.ablation import BASE, VARIANTS, Plan
from muzero_jax.runs import signals, workdir
from muzero_jax.runs.progress import Progress, duration


@dataclasses.dataclass(frozen=True)
class Options(Config):
  """The settings of a run, and the variants and seeds to train."""

  seeds: int = option(5, "seeds of each variant: --seed and the following ones", minimum=1)
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


@dataclasses.dataclass
class Pace:
  """How far all runs are, and how long they will take."""

  runs: int
  over: int = 0  # runs that are finished
  trained: float = 0.0  # runs that this process has trained, with the share of the one under way
  seconds: float = 0.0  # that it took

  def left(self, share: float = 0.0) -> str:
    """In words, the time left where `share` of the run under way is done; "" if nobody knows."""
    if self.trained <= 0:
      return ""
    rest = (self.runs - self.over - share) * self.seconds / self.trained
    return f", about {duration(rest)} left" if rest > 0 else ""


def main(argv: list[str]) -> None:
  """Trains the runs that are missing; prints and writes the table after each variant."""
  options, plan = planned(argv)
  for sentence in plan.left_out:
    print(sentence)
  seeds = range(options.seed, options.seed + options.seeds)
  pace = Pace(len(plan.variants) * len(seeds))
  print(f"{len(plan.variants)} variants, seeds {list(seeds)}: {pace.runs} runs", flush=True)
  rows = {}
  for name, config in plan.variants.items():
    places = {seed: f"{options.workdir}/{ablation.folder_name(name)}/{seed}" for seed in seeds}
    for seed, folder in places.items():
      train(dataclasses.replace(config, seed=seed, workdir=folder), pace)
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
  if not options.workdir:
    raise ConfigError("--workdir is missing: name the folder that the runs' folders are made in.")
  if not options.evaluation.episodes:
    raise ConfigError(
      "--evaluation.episodes=0: the table is made of evaluations; ask for one episode at least."
    )
  base = Config(
    **{field.name: getattr(options, field.name) for field in dataclasses.fields(Config)}
  )
  configs.check(base)
  only, ideas = (
    [name.strip() for name in names.split(",") if name.strip()]
    for names in (options.only, options.ideas)
  )
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


def train(config: Config, pace: Pace) -> None:
  """Trains or resumes one run in a subprocess, unless it is finished.

  Its flags are written to WORKDIR.flags, and its output to WORKDIR.log.

  Raises:
    ConfigError: the run ended with an error.
  """
  begun, before = time.monotonic(), (pace.trained, pace.seconds)
  title = f"run {pace.over + 1} of {pace.runs}: {config.workdir}"
  if ablation.finished(config):
    pace.over += 1
    print(f"{title} is finished already", flush=True)
    return
  start = ablation.done(config)

  def update(share: float) -> None:
    pace.trained = before[0] + share - start
    pace.seconds = before[1] + time.monotonic() - begun

  with Progress(title, 1.0, pause=60.0) as progress:

    def show() -> None:
      share = ablation.done(config)
      update(share)
      text = f"{share:.0%} of its steps" if share else "compiling, filling its replay"
      progress.show(share, f"{text}{pace.left(share)}")

    code = call(config, show)
  log = Path(f"{config.workdir}.log")
  last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
  if code:
    raise ConfigError(f"the run in {config.workdir} ended with exit code {code}: {last}")
  update(1.0)
  pace.over += 1
  took = duration(time.monotonic() - begun)
  print(f"{title}: {last.partition(' (')[0]} ({took}{pace.left()})", flush=True)


def call(config: Config, show: Callable[[], None]) -> int:
  """Runs `launch.train` with these settings; calls `show` every few seconds; returns its exit code.

  A signal ends it, after it has saved a checkpoint, and then this process.
  """
  log, words = Path(f"{config.workdir}.log"), Path(f"{config.workdir}.flags")
  log.parent.mkdir(parents=True, exist_ok=True)
  defaults = configs.values(Config())
  changed = {
    name: value for name, value in configs.values(config).items() if value != defaults[name]
  }
  # A file: with a flag file, `train` takes nothing from the run that may be in the folder.
  workdir.write(
    words,
    "".join(
      f"--{name}={str(value).lower() if isinstance(value, bool) else value}\n"
      for name, value in changed.items()
    ),
  )
  # In a new session, so that Ctrl-C does not signal it a second time: we terminate it.
  start = partial(subprocess.Popen, stderr=subprocess.STDOUT, start_new_session=True)
  with open(log, "w") as file, signals.handled() as stop:
    stop.unsaved = True  # a signal ends this process after the run has saved a checkpoint
    process = start([sys.executable, "-m", "launch.train", f"--flagfile={words}"], stdout=file)
    try:
      with stop.interruptible():
        return wait(process, show)
    except signals.Stopped:
      process.terminate()
      process.wait()
      raise
    finally:
      stop.unsaved = False


def wait(process: subprocess.Popen, show: Callable[[], None]) -> int:
  """Waits for the end of a process and returns its exit code; calls `show` every few seconds."""
  while True:
    try:
      return process.wait(timeout=5.0)
    except subprocess.TimeoutExpired:
      show()


if __name__ == "__main__":
  cli.run(main)
