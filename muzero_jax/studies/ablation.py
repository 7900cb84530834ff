"""What an ablation compares: a preset, variants that differ from it in one thing, their scores."""

import dataclasses
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from muzero_jax import config as configs
from muzero_jax import flags, rules
from muzero_jax.config import Config, ConfigError
from muzero_jax.evaluation import aggregate
from muzero_jax.runs import history, jsonl, workdir

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
# Settings that are not those of an agent, or that the command sets itself.
_FIXED = ("workdir", "seed", "override_config")


@dataclasses.dataclass(frozen=True)
class Plan:
  """The agents of an ablation."""

  variants: dict[str, Config]  # by name; the first one is the preset as it is, `BASE`
  left_out: tuple[str, ...]  # a sentence for each variant that cannot be trained, or is the preset


def plan(
  base: Config, *, only: Sequence[str] = (), vary: Sequence[str] = (), ideas: Sequence[str] = ()
) -> Plan:
  """The variants of a preset. The preset itself is always one of them.

  Args:
    base: the settings of the preset.
    only: names of `VARIANTS`, or `BASE`.
    vary: sweeps of one setting each, as "NAME=VALUE,VALUE,...".
    ideas: names of flag files in presets/ideas, each of which is added to the preset; several
      joined by "+" are added together.

  Raises:
    ConfigError: a variant, setting or idea does not exist, or a value is not one of the setting.
  """
  found: dict[str, list[Config]] = {}
  for name in only:
    if name not in (BASE, *VARIANTS):
      known = ", ".join((BASE, *VARIANTS))
      raise ConfigError(f"--only={name}: there is no such variant; there are {known}.")
    found[name] = [configs.replace(base, changes) for changes in VARIANTS.get(name, ())]
  for text in vary:
    found |= {name: [config] for name, config in sweep(base, text).items()}
  found |= {name: [with_ideas(base, name)] for name in ideas}
  variants, left_out = {BASE: base}, []
  for name, ways in found.items():
    if name == BASE:
      continue
    config = next((way for way in ways if way != base), base)
    problem = "the preset as it is" if config == base else _problem(config)
    if problem:
      left_out.append(f"left out: {name} ({problem})")
    else:
      variants[f"no {name}" if len(ways) > 1 and ways[0] == base else name] = config
  return Plan(variants, tuple(left_out))


def _problem(config: Config) -> str:
  try:
    rules.check(config)
  except ConfigError as error:
    return str(error)
  return ""


def sweep(base: Config, text: str) -> dict[str, Config]:
  """The variants of --vary=NAME=VALUE,VALUE,..., called NAME=VALUE.

  Raises:
    ConfigError: there is no such setting, it cannot be varied, or a value is not one of it.
  """
  name, equals, values = text.strip().partition("=")
  name = name.lstrip("-")
  listed = [value.strip() for value in values.split(",") if value.strip()]
  if not (name and equals and listed):
    raise ConfigError(
      f"--vary={text}: write NAME=VALUE,VALUE,..., for example search.num_simulations=2,4,8."
    )
  if name in _FIXED:
    raise ConfigError(f"--vary={text}: --{name} cannot be varied; --seeds sets the seeds.")
  if name not in configs.values(base):
    near = flags.similar(name, configs.values(base))
    raise ConfigError(f"--vary={text}: there is no setting --{name}{near}")
  return {f"{name}={v}": flags.parse(["ablation", f"--{name}={v}"], base) for v in listed}


def with_ideas(base: Config, names: str) -> Config:
  """The preset with the flag files of one idea, or of several joined by "+", added to it.

  Raises:
    ConfigError: there is no such idea.
  """
  known = [name.removeprefix("ideas/") for name in flags.presets() if name.startswith("ideas/")]
  words = []
  for name in (name.strip().removeprefix("ideas/") for name in names.split("+")):
    if name not in known:
      near = flags.similar(name, known)
      raise ConfigError(
        f"--ideas={name}: there is no such idea{near} There are {', '.join(known)}."
      )
    words.append(f"--preset=ideas/{name}")
  return flags.parse(["ablation", *words], base)


def folder_name(variant: str) -> str:
  """The name of a variant's folder: what could not be named on a command line becomes "_"."""
  return re.sub(r"[^\w.=+-]", "_", variant)


def finished(config: Config) -> bool:
  """Whether the run in `config.workdir` has these settings and length, and was evaluated.

  Raises:
    ConfigError: its evaluations cannot be read.
  """
  folder = Path(config.workdir)
  try:
    own = workdir.load(folder)
  except ConfigError:
    return False
  return not configs.differences(own, config) and any(
    row.get("agent") == "trained" and row.get("env_steps", 0) >= config.env_steps
    for row in jsonl.read(folder / "evaluations.jsonl")
  )


def done(config: Config) -> float:
  """The share of the run in `config.workdir` that is done, as far as its metrics say, in 0..1."""
  rows = jsonl.read(Path(config.workdir) / "metrics.jsonl")
  return min(1.0, rows[-1].get("env_steps", 0) / config.env_steps) if rows else 0.0


def score(folders: Sequence[str]) -> dict[str, Any]:
  """The scores of one variant's seeds.

  Args:
    folders: the runs' folders, one for each seed.

  Returns:
    The game's entry in the result of `aggregate.aggregate`, and in addition "training", the `late`
    return of each seed.
  """
  (task,) = aggregate.aggregate(
    [aggregate.last_evaluation(folder, "trained", "auto") for folder in folders]
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


def table(rows: dict[str, dict[str, Any]]) -> str:
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
      f"| {name} | {in_words(task['training'])} | {in_words(scores)} | "
      f"{', '.join(f'{x:.2f}' for x in scores)} |"
    )
  return "\n".join(lines)


def in_words(values: Sequence[float]) -> str:
  """Formats mean and sample standard deviation; the mean alone for a single value."""
  return f"{statistics.mean(values):.2f}" + (
    f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
  )


def document(rows: dict[str, dict[str, Any]], variants: dict[str, Config], image: str) -> str:
  """The text of ablation.md: the table, what each variant changes, and the image.

  Args:
    rows: variant -> the result of `score`, for those that have been trained.
    variants: of the plan.
    image: the image's file name.
  """
  base, task = variants[BASE], next(iter(rows.values()))
  seeds = ", ".join(str(run["seed"]) for run in task["runs"])
  lines = [
    f"# Ablation on {task['task']}",
    "",
    f"{base.env_steps:,} steps, seeds {seeds}, protocol {task['protocol']}. Means and standard "
    "deviations over seeds; training: the mean return of the episodes in the last quarter.",
    "",
    table(rows),
    "",
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
