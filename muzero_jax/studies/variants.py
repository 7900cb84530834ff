"""The variants of a preset that an ablation compares: each differs from it in one thing."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from muzero_jax import config as configs
from muzero_jax import flags, rules
from muzero_jax.config import Config, ConfigError

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
class Comparison:
  """The agents that an ablation compares."""

  variants: dict[str, Config]  # by name; the first one is the preset as it is, `BASE`
  left_out: tuple[str, ...]  # a sentence for each variant that cannot be trained, or is the preset


def comparison(
  base: Config, only: Sequence[str], vary: Sequence[str], ideas: Sequence[str]
) -> Comparison:
  """The variants that a command line asks for (`variants_of`). If it names none, all of `VARIANTS`.

  Raises:
    ConfigError: as `variants_of`; or the settings of the preset cannot be combined; or no variant
      is left.
  """
  rules.check(base)
  if not (only or vary or ideas):
    only = list(VARIANTS)
  found = variants_of(base, only=only, vary=vary, ideas=ideas)
  if len(found.variants) == 1 and list(only) != [BASE]:
    raise ConfigError(
      f"nothing is left to compare the preset with ({'; '.join(found.left_out)}): name other "
      "variants with --vary, --ideas or --only."
    )
  return found


def variants_of(
  base: Config, *, only: Sequence[str] = (), vary: Sequence[str] = (), ideas: Sequence[str] = ()
) -> Comparison:
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
  return Comparison(variants, tuple(left_out))


def _problem(config: Config) -> str:
  try:
    rules.check(config)
  except ConfigError as error:
    return str(error)
  return "" if config.evaluation.episodes else "--evaluation.episodes=0 leaves nothing to compare"


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
    ConfigError: there is no such idea, or one of them undoes another.
  """
  known = [name.removeprefix("ideas/") for name in flags.presets() if name.startswith("ideas/")]
  words: list[str] = []
  choices: dict[str, tuple[Any, str]] = {}  # setting -> what an idea chose, and which one
  for name in (name.strip().removeprefix("ideas/") for name in names.split("+")):
    if name not in known:
      near = flags.similar(name, known)
      raise ConfigError(
        f"--ideas={name}: there is no such idea{near} There are {', '.join(known)}."
      )
    for setting, value in idea(name).items():
      before, other = choices.setdefault(setting, (value, name))
      if isinstance(value, str) and value != before:
        raise ConfigError(
          f"--ideas={names}: {other} needs --{setting}={before} and {name} --{setting}={value}: "
          "leave one of them out."
        )
    words.append(f"--preset=ideas/{name}")
  return flags.parse(["ablation", *words], base)


def idea(name: str) -> dict[str, Any]:
  """The settings in the flag file of an idea, and their values."""
  path = flags.preset(f"ideas/{name}")
  given = flags.names(["", *path.read_text().splitlines()])
  values = configs.values(flags.parse(["ablation", f"--flagfile={path}"], Config()))
  return {setting: values[setting] for setting in given}


def folder_name(variant: str) -> str:
  """The name of a variant's folder: what could not be named on a command line becomes "_"."""
  return re.sub(r"[^\w.=+-]", "_", variant)


def runs(config: Config, variant: str, folder: str, seeds: Sequence[int]) -> list[Config]:
  """The runs of a variant, one for each seed, in FOLDER/VARIANT/SEED."""
  place = f"{folder}/{folder_name(variant)}"
  return [dataclasses.replace(config, seed=seed, workdir=f"{place}/{seed}") for seed in seeds]
