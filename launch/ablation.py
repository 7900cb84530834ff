"""Trains variants of a preset with one idea changed in each, and prints a table of scores.

muzero-jax ablation --preset=NAME --workdir=DIR [--seeds=5] [--only=NAME,...] [--flag=value ...]

Each variant is trained with several seeds, one run after the other, each in a separate process.
The command can be stopped and started again: finished runs are not repeated, and an interrupted run
is resumed.
"""

import dataclasses
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from launch import cli
from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError, option
from muzero_jax.runs import signals

# Variant -> changes of the preset. Where there are two, the second one is made if the preset has
# the settings of the first one already.
VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
  "0 simulations": ({"search.kind": "none"},),
  "4 simulations": ({"search.kind": "gumbel", "search.num_simulations": 4},),
  "8 simulations": ({"search.kind": "gumbel", "search.num_simulations": 8},),
  "16 simulations": ({"search.kind": "gumbel", "search.num_simulations": 16},),
  "32 simulations": ({"search.kind": "gumbel", "search.num_simulations": 32},),
  "Q per node": ({"search.qtransform": "node"},),
  "Q over the tree": ({"search.qtransform": "tree"},),
  "Q as advantages": ({"search.qtransform": "advantage"},),
  "Q by its skill": ({"search.qtransform": "skill"},),
  "sampled actions": ({"search.acting": "sample"}, {"search.acting": "halving"}),
  "equal steps": ({"loss.steps": "equal"}, {"loss.steps": "root"}),
  "reanalysis": ({"targets.reanalyse": 1.0}, {"targets.reanalyse": 0.0}),
  "consistency": ({"loss.consistency": 2.0}, {"loss.consistency": 0.0}),
  "priorities": ({"replay.kind": "prioritized"}, {"replay.kind": "uniform"}),
}
BASE = "as it is"


@dataclasses.dataclass(frozen=True)
class Options(Config):
  """The settings of a run, and the variants and seeds to train."""

  seeds: int = option(5, "seeds of each variant: --seed and the following ones", minimum=1)
  only: str = option(
    "",
    f"variants to train, with commas between; empty: {BASE} and all of {', '.join(VARIANTS)}",
  )


def main(argv: list[str]) -> None:
  """Trains the runs that are missing; prints the table after each variant."""
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  configs.check(options)
  if not options.workdir:
    raise ConfigError("--workdir is missing: name the folder that the runs' folders are made in.")
  if not options.evaluation.episodes:
    raise ConfigError(
      "--evaluation.episodes=0: the table is made of evaluations; ask for one episode at least."
    )
  rows = {}
  for name, config in plan(options).items():
    folders = [
      f"{options.workdir}/{name.replace(' ', '_')}/{seed}"
      for seed in range(options.seed, options.seed + options.seeds)
    ]
    for seed, folder in enumerate(folders, options.seed):
      train(dataclasses.replace(config, seed=seed, workdir=folder))
    rows[name] = score(folders)
    print(table(rows), flush=True)


def plan(options: Options) -> dict[str, Config]:
  """The configuration of each variant, by name.

  Variants that equal the preset, or whose settings are invalid, are left out with a message.

  Raises:
    ConfigError: there is no variant with a name in --only.
  """
  names = cli.chosen("only", "variant", options.only, [BASE, *VARIANTS])
  base = Config(
    **{field.name: getattr(options, field.name) for field in dataclasses.fields(Config)}
  )
  found = {}
  for name in names:
    ways = [configs.replace(base, changes) for changes in VARIANTS.get(name, ({},))]
    config = next((way for way in ways if way != base), base)
    try:
      configs.check(config)
    except ConfigError as error:
      print(f"left out: {name} ({error})")
      continue
    if config == base and name != BASE:
      print(f"left out: {name} (the preset as it is)")
      continue
    found[f"no {name}" if len(ways) > 1 and ways[0] == base else name] = config
  return found


def train(config: Config) -> None:
  """Trains or resumes one run in a subprocess; its output is written to WORKDIR.log."""
  begun, log = time.perf_counter(), Path(f"{config.workdir}.log")
  log.parent.mkdir(parents=True, exist_ok=True)
  defaults = configs.values(Config())
  changed = {
    name: value for name, value in configs.values(config).items() if value != defaults[name]
  }
  words = [
    f"--{name}={str(value).lower() if isinstance(value, bool) else value}"
    for name, value in changed.items()
  ]
  # In a new session, so that Ctrl-C does not signal it a second time: we terminate it.
  start = partial(subprocess.Popen, stderr=subprocess.STDOUT, start_new_session=True)
  with open(log, "w") as file, signals.handled() as stop:
    stop.unsaved = True  # a signal ends this process after the run has saved a checkpoint
    process = start([sys.executable, "-m", "launch.train", *words], stdout=file)
    try:
      with stop.interruptible():
        code = process.wait()
    except signals.Stopped:
      process.terminate()
      process.wait()
      raise
    finally:
      stop.unsaved = False
  last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
  if code:
    raise ConfigError(f"the run in {config.workdir} ended with exit code {code}: {last}")
  print(
    f"{config.workdir}: {last.partition(' (')[0]} ({time.perf_counter() - begun:.0f} s)", flush=True
  )


def score(folders: Sequence[str]) -> dict:
  """The scores of one variant's seeds.

  Args:
    folders: the runs' folders, one for each seed.

  Returns:
    The game's entry in the result of `aggregate.aggregate`, and in addition "training", the `late`
    return of each seed.
  """
  from muzero_jax.evaluation import aggregate
  from muzero_jax.runs import history

  (task,) = aggregate.aggregate(
    [aggregate.newest(folder, "trained", "auto") for folder in folders]
  )["tasks"]
  lines = [history.read(folder).line("env_steps", "episode/return") for folder in folders]
  return task | {"training": [late(steps.tolist(), returns.tolist()) for steps, returns in lines]}


def late(steps: Sequence[float], returns: Sequence[float]) -> float:
  """The mean return of training episodes in a run's last quarter; NaN where none ended.

  It shows differences between agents that evaluation, which does not explore, hides: in games whose
  episodes hardly vary, or where all agents are perfect or stuck.

  Args:
    steps: agent steps at which rows of metrics were written.
    returns: the mean return in each row; rows are weighted by the agent steps since the row before.
  """
  lengths = [step - before for step, before in zip(steps, [0, *steps], strict=False)]
  last = [
    (length, value)
    for step, length, value in zip(steps, lengths, returns, strict=True)
    if step > 0.75 * steps[-1]
  ]
  return (
    sum(length * value for length, value in last) / sum(length for length, _ in last)
    if last
    else float("nan")
  )


def table(rows: dict[str, dict]) -> str:
  """Formats scores as a Markdown table.

  Its columns are the mean and standard deviation over seeds of late training returns and of
  evaluations, and the evaluation of each seed.

  Args:
    rows: variant -> the result of `score`.
  """
  lines = [
    "| variant | training, last quarter | evaluation | each seed's evaluation |",
    "|---|---|---|---|",
  ]
  for name, task in rows.items():
    scores = [run["mean"] for run in task["runs"]]
    lines.append(
      f"| {name} | {spread(task['training'])} | {spread(scores)} | "
      f"{', '.join(f'{x:.2f}' for x in scores)} |"
    )
  return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
  """Formats mean and sample standard deviation; the mean alone for a single value."""
  return f"{statistics.mean(values):.2f}" + (
    f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
  )


if __name__ == "__main__":
  cli.run(main)
