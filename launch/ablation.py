"""Switches one idea at a time on or off in a preset, trains several seeds of each, and prints a table of their scores.

python -m launch.ablation --flagfile=launch/presets/NAME.flags --workdir=DIR [--seeds=5] [--only=NAME,...] [--flag=value ...]

Runs that are done are not repeated, so that it can be stopped and started again. One run at a time, each in a process of its own.
"""

import dataclasses
import subprocess
import sys
import time
from collections.abc import Sequence

from launch import cli
from muzero_jax.config import Config, ConfigError, option

# What is changed in the preset; "as it is" is what the others are compared with.
VARIANTS = {
  "as it is": [],
  "0 simulations": ["--search.kind=none"],
  "4 simulations": ["--search.kind=gumbel", "--search.num_simulations=4"],
  "16 simulations": ["--search.kind=gumbel", "--search.num_simulations=16"],
  "reanalysis": ["--targets.reanalyse=1"],
  "consistency": ["--loss.consistency=2"],
  "priorities": ["--replay.kind=prioritized"],
  "policy gradient": ["--search.kind=none", "--loss.policy_gradient=1"],
}


@dataclasses.dataclass(frozen=True)
class Options(Config):
  """A run's settings, and how often."""

  seeds: int = option(5, "of each variant: --seed and the next", minimum=1)
  only: str = option("", f"variants, with commas between; empty: all of {', '.join(VARIANTS)}")


def main(argv: list[str]) -> None:
  """Reads the flags, trains what is missing, prints the table."""
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  names = [name.strip() for name in options.only.split(",") if name.strip()] or list(VARIANTS)
  for name in names:
    if name not in VARIANTS:
      raise ConfigError(f"--only={name}: there is no such variant; there are {', '.join(VARIANTS)}.")
  if not options.workdir:
    raise ConfigError("--workdir is missing: name the folder that the runs' folders are made in.")
  given = [*argv[1:], "--undefok=seeds,only"]  # later flags win
  seeds = range(options.seed, options.seed + options.seeds)
  rows = {}
  for name in names:
    folders = [f"{options.workdir}/{name.replace(' ', '_')}/{seed}" for seed in seeds]
    for seed, folder in zip(seeds, folders, strict=True):
      train([*given, *VARIANTS[name], f"--seed={seed}", f"--workdir={folder}"])
    rows[name] = score(folders)
    print(table(rows), flush=True)


def train(words: Sequence[str]) -> None:
  """One run, or what is left of it."""
  begun = time.perf_counter()
  command = [sys.executable, "-m", "launch.train", *words]
  result = subprocess.run(command, capture_output=True, text=True)
  if result.returncode:
    raise ConfigError(f"{' '.join(words)} ended with exit code {result.returncode}: {result.stderr.strip()[-500:]}")
  print(f"{words[-1]}: {result.stdout.strip().splitlines()[-1][:120]} ({time.perf_counter() - begun:.0f} s)", flush=True)


def score(folders: Sequence[str]) -> dict:
  """What the seeds of one variant scored: a game's entry in `aggregate.aggregate`."""
  from muzero_jax import aggregate

  (task,) = aggregate.aggregate([aggregate.newest(folder, "trained", "auto") for folder in folders])["tasks"]
  return task


def table(rows: dict[str, dict]) -> str:
  """Markdown: mean and standard deviation over seeds, and each seed's mean."""
  lines = ["| variant | mean | sd | seeds |", "|---|---|---|---|"]
  for name, task in rows.items():
    sd = "-" if task["mean_sd"] is None else f"{task['mean_sd']:.2f}"
    each = ", ".join(f"{run['mean']:.2f}" for run in task["runs"])
    lines.append(f"| {name} | {task['mean']:.2f} | {sd} | {each} |")
  return "\n".join(lines)


if __name__ == "__main__":
  cli.run(main)
