"""The result of an ablation: the scores of its variants, as a table and as learning curves."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from muzero_jax import config as configs
from muzero_jax.config import Config
from muzero_jax.evaluation import aggregate
from muzero_jax.evaluation.aggregate import Evaluated
from muzero_jax.reporting import plots
from muzero_jax.runs import history, workdir
from muzero_jax.studies.variants import BASE


def score(runs: Sequence[Evaluated]) -> dict[str, Any]:
  """The scores of one variant's seeds.

  Args:
    runs: one for each seed.

  Returns:
    The game's entry in the result of `aggregate.aggregate`, and in addition "training", the `late`
    return of each seed, and "speed", the agent steps per second of one seed: the median over the
    rows of metrics of all seeds, NaN where there are none.
  """
  (task,) = aggregate.aggregate(runs)["tasks"]
  records = [history.read(run.folder) for run in runs]
  training = []
  for record in records:
    steps, returns = record.line("env_steps", "episode/return")
    training.append(late(steps.tolist(), returns.tolist(), record.last("env_steps") or 0.0))
  rates = [rate for r in records for rate in r.line("env_steps", "env_steps_per_second")[1]]
  return task | {
    "training": training,
    "speed": statistics.median(rates) if rates else float("nan"),
  }


def late(steps: Sequence[float], returns: Sequence[float], end: float) -> float:
  """The mean return of training episodes in a run's last quarter; NaN where none ended.

  It shows differences between agents that evaluation, which does not explore, hides: in games whose
  episodes hardly vary, or where all agents are perfect or stuck.

  Args:
    steps: agent steps at which rows of metrics with a return were written.
    returns: the mean return in each row; rows are weighted by the agent steps since the row before.
    end: agent steps of the run.
  """
  lengths = [step - before for step, before in zip(steps, [0, *steps], strict=False)]
  last = [
    (length, value)
    for step, length, value in zip(steps, lengths, returns, strict=True)
    if step > 0.75 * end
  ]
  return (
    sum(length * value for length, value in last) / sum(length for length, _ in last)
    if last
    else float("nan")
  )


def table(rows: dict[str, dict[str, Any]]) -> str:
  """Formats scores as a Markdown table.

  Its columns are the mean and standard deviation over seeds of late training returns and of
  evaluations, the evaluation of each seed, and the speed.

  Args:
    rows: variant -> the result of `score`.
  """
  lines = [
    "| variant | training, last quarter | evaluation | each seed's evaluation | steps/s |",
    "|---|---|---|---|---|",
  ]
  for name, task in rows.items():
    scores = [run["mean"] for run in task["runs"]]
    lines.append(
      f"| {name} | {in_words(task['training'])} | {in_words(scores)} | "
      f"{', '.join(f'{x:.2f}' for x in scores)} | {task['speed']:,.0f} |"
    )
  return "\n".join(lines)


def in_words(values: Sequence[float]) -> str:
  """Formats mean and sample standard deviation; the mean alone for a single value.

  Values that are NaN are left out, and counted.
  """
  known = [value for value in values if not math.isnan(value)]
  if not known:
    return "-"
  spread = f" ± {statistics.stdev(known):.2f}" if len(known) > 1 else ""
  missing = f" ({len(known)} of {len(values)} seeds)" if len(known) < len(values) else ""
  return f"{statistics.mean(known):.2f}{spread}{missing}"


def write(
  place: Path,
  rows: dict[str, dict[str, Any]],
  variants: dict[str, Config],
  failed: Sequence[str] = (),
) -> None:
  """Writes ablation.md and ablation.png.

  Args:
    place: the folder of the ablation.
    rows: variant -> the result of `score`, for those that have been trained.
    variants: all of them.
    failed: the folders of runs that have failed.
  """
  runs = {name: [Path(run["workdir"]) for run in task["runs"]] for name, task in rows.items()}
  plots.draw_comparison(place / "ablation.png", runs)
  workdir.write(place / "ablation.md", document(rows, variants, "ablation.png", failed))


def document(
  rows: dict[str, dict[str, Any]],
  variants: dict[str, Config],
  image: str,
  failed: Sequence[str] = (),
) -> str:
  """The text of ablation.md: the table, what each variant changes, and the image.

  Args:
    rows: variant -> the result of `score`, for those that have been trained.
    variants: all of them.
    image: the image's file name.
    failed: the folders of runs that have failed.
  """
  base, task = variants[BASE], next(iter(rows.values()))
  trained = sorted({run["seed"] for row in rows.values() for run in row["runs"]})
  seeds = ", ".join(map(str, trained))
  missing = f"Failed, and not in the table: {', '.join(f'`{name}`' for name in failed)}."
  lines = [
    f"# Ablation on {task['task']}",
    "",
    f"{base.env_steps:,} steps, seeds {seeds}, protocol {task['protocol']}. Means and standard "
    "deviations over seeds; training: the mean return of the episodes in the last quarter; "
    "steps/s: the median rate of one seed, whose ratio to the first row says what a variant costs "
    "if nothing else was running.",
    "",
    table(rows),
    "",
    *([missing, ""] if failed else []),
    "![Mean return of training episodes over seeds, and the range from lowest to highest]"
    f"({image})",
    "",
    "| variant | changes |",
    "|---|---|",
  ]
  before = configs.values(base)
  for name in rows:
    after = configs.values(variants[name])
    changed = [f"`--{key}={value}`" for key, value in after.items() if value != before[key]]
    lines.append(f"| {name} | {', '.join(changed) or 'none'} |")
  return "\n".join(lines) + "\n"
