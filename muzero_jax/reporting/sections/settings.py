"""The section of settings: all of them, and the command line and package versions of each run."""

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from muzero_jax import config as configs
from muzero_jax.config import Config
from muzero_jax.reporting.elements import note, table, tag
from muzero_jax.runs import history
from muzero_jax.runs.history import Group, RunRecord


def section(runs: Sequence[RunRecord], groups: Sequence[Group]) -> list[Element]:
  """A table of settings, with those highlighted that differ, and a list of commands."""
  commands = [_command(name, run) for name, run in zip(history.names(runs), runs, strict=True)]
  return [
    tag("h2", "Configuration"),
    *_table(runs, groups),
    tag("h3", "Commands and versions"),
    tag("ul", *commands),
  ]


def _table(runs: Sequence[RunRecord], groups: Sequence[Group]) -> list[Element]:
  names = dict.fromkeys(name for run in runs for name in run.settings)
  defaults = configs.values(Config())
  if len(runs) > 1:
    marked, why = history.differing(runs), "differs between runs"
  else:
    marked = [name for name in names if runs[0].settings[name] != defaults.get(name)]
    why = "not the default"
  rows = [
    [f"--{name}", str(defaults.get(name, "")), *(_values(group, name) for group in groups)]
    for name in names
  ]
  header = ["setting", "default", *(group.name for group in groups)]
  return [note(f"Highlighted: {why}."), table(header, rows, [f"--{name}" for name in marked])]


def _values(group: Group, name: str) -> str:
  return ", ".join(dict.fromkeys(str(run.settings.get(name, "")) for run in group.runs))


def _command(name: str, run: RunRecord) -> Element:
  command = " ".join(map(str, run.facts.get("command") or []))
  versions = run.facts.get("versions") or {}
  packages = ", ".join(f"{package} {version}" for package, version in versions.items())
  return tag("li", f"{name}: {command} ({packages})")
