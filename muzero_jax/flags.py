"""The command line: absl flags, `--help` and docs/settings.md, generated from the configuration."""

import dataclasses
import difflib
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from absl import flags

from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError

PRESETS = Path(__file__).parent / "presets"

_DEFINE = {
  bool: flags.DEFINE_boolean,
  int: flags.DEFINE_integer,
  float: flags.DEFINE_float,
  str: flags.DEFINE_string,
  tuple: flags.DEFINE_multi_string,  # a flag that may be given several times
}


Settings = TypeVar("Settings")


def parse(argv: Sequence[str], config: Settings, usage: str | None = "") -> Settings:
  """Parses a command line into settings.

  Args:
    argv: the command's name, then flags: `--name=value`, `--switch`, `--noswitch`,
      `--flagfile=FILE` and, if `config` is a `Config`, `--preset=NAME`. Later flags win.
    config: the defaults, a tree of frozen dataclasses whose fields are made by `config.option`.
    usage: the text that `--help` prints before the list of flags. `--help` exits with code 0.

  Returns:
    `config` with the values from the command line.

  Raises:
    ConfigError: a flag or preset is unknown, a value has the wrong type or is out of range, or an
      argument is not a flag.
  """
  if any(word in ("--help", "-help", "-h", "--helpfull", "--helpshort") for word in argv[1:]):
    print(help_text(config, usage))
    sys.exit(0)
  parser = flags.FlagValues()
  flags.DEFINE_string("flagfile", "", "read flags from this file", flag_values=parser)
  flags.DEFINE_string("undefok", "", "flags that may be unknown", flag_values=parser)
  for name, (value, field) in configs.flatten(config).items():
    _DEFINE[type(value)](name, value, field.metadata["help"], flag_values=parser)
  _define_old_names(parser)
  for sentence in overridden(argv) if isinstance(config, Config) else ():
    print(f"note: {sentence}", file=sys.stderr)
  try:
    rest = parser(expand(argv) if isinstance(config, Config) else list(argv))[1:]
  except flags.Error as error:
    raise ConfigError(_sentence(error)) from error
  except ConfigError:
    raise
  except (OSError, ValueError, RecursionError) as error:
    raise ConfigError(
      "--flagfile: a flag file is not a text in UTF-8, or flag files include each other; write one "
      "flag per line."
    ) from error
  if rest:
    raise ConfigError(
      f"'{rest[0]}' is not a flag: write --name=value, for example --env.task=Pong-v5."
    )
  given = {name: parser[name].value for name in configs.flatten(config)}
  lists = {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
  config = configs.replace(config, given | lists)
  configs.check_ranges(config)
  return config


def _define_old_names(parser: flags.FlagValues) -> None:
  """Accepts the names that flags had in earlier versions, and prints a note if one is used."""
  for old, new in configs.RENAMED.items():
    if new in parser:
      flags.DEFINE_alias(old, new, flag_values=parser)
      alias = parser[old]
      parse_value = alias.parse

      def parse_and_say(
        argument: Any, old: str = old, new: str = new, parse_value: Any = parse_value
      ) -> None:
        print(
          f"note: --{old} is now called --{new}; the old name will be removed.", file=sys.stderr
        )
        parse_value(argument)

      alias.parse = parse_and_say


def presets() -> list[str]:
  """The names of the presets: flag files that come with the package.

  Those in `ideas/` change a few settings each and are given after another preset.
  """
  return sorted(
    path.relative_to(PRESETS).with_suffix("").as_posix() for path in PRESETS.rglob("*.flags")
  )


def expand(argv: Sequence[str]) -> list[str]:
  """Replaces each `--preset=NAME` of a command line by `--flagfile=FILE`.

  Raises:
    ConfigError: there is no such preset.
  """
  expanded, words = [], iter(argv)
  for word in words:
    flag, equals, name = word.partition("=")
    if flag in ("--preset", "-preset"):
      word = f"--flagfile={preset(name if equals else next(words, ''))}"
    expanded.append(word)
  return expanded


def overridden(argv: Sequence[str]) -> list[str]:
  """A sentence for each flag to which a preset that comes later gives another value."""
  found, given = [], {}
  for word in argv[1:]:
    name, equals, value = word.lstrip("-").partition("=")
    if name == "preset" and value in presets():
      for line in preset(value).read_text().splitlines():
        flag, _, own = line.lstrip("-").partition("=")
        if given.get(flag, own) != own:
          found.append(
            f"--preset={value} comes after --{flag}={given[flag]} and sets it to {own}; give the "
            "preset first."
          )
    elif equals:
      given[name] = value
  return found


def names(argv: Sequence[str]) -> set[str]:
  """The names of the flags on a command line; of --noNAME that of the switch."""
  known = configs.values(Config())
  found = {word.lstrip("-").partition("=")[0] for word in argv[1:] if word.startswith("-")}
  return {name.removeprefix("no") if name.removeprefix("no") in known else name for name in found}


def listed(text: str) -> list[str]:
  """The names in a text, with commas between; empty ones are left out."""
  return [name.strip() for name in text.split(",") if name.strip()]


def chosen(flag: str, noun: str, given: str, known: Iterable[str]) -> list[str]:
  """Splits the comma-separated names in a flag's value.

  Args:
    flag: its name, for the error message.
    noun: what the names stand for, for the error message.
    given: the flag's value.
    known: the valid names.

  Returns:
    The names in `given`; all valid names if it has none.

  Raises:
    ConfigError: a name is not valid.
  """
  names, known = listed(given), list(known)
  for name in names:
    if name not in known:
      raise ConfigError(f"--{flag}={name}: there is no such {noun}; there are {', '.join(known)}.")
  return names or known


def preset(name: str) -> Path:
  """The path of a preset's flag file.

  Raises:
    ConfigError: there is no such preset.
  """
  known = presets()
  if name in known:
    return PRESETS / f"{name}.flags"
  sentence = f"there is no such preset{similar(name, known)}"
  raise ConfigError(f"--preset={name}: {sentence} There are {', '.join(known)}.")


def similar(name: str, known: Iterable[str]) -> str:
  """Ends a sentence about an unknown name: "; did you mean ...?", or "." where none is near."""
  near = difflib.get_close_matches(name, known, 1)
  return f"; did you mean {near[0]}?" if near else "."


def help_text(config: Any, usage: str | None) -> str:
  """The text of `--help`: every flag with its default, help, choices and range, by group."""
  lines = [
    usage or "",
    "",
    "--flagfile=FILE reads flags from a file, one per line; later flags win. Switches: --name and "
    "--noname.",
  ]
  if isinstance(config, Config):
    lines.append(f"--preset=NAME reads the flags of a preset: {', '.join(presets())}.")
  group = None
  for name, (value, field) in configs.flatten(config).items():
    head = name.partition(".")[0] if "." in name else ""
    if head != group:
      group = head
      about = getattr(config, head).__doc__ if head else "General settings."
      lines += ["", about.splitlines()[0]]
    shown = str(value).lower() if isinstance(value, bool) else value
    lines += [
      f"  --{name}={'' if value == () else shown}",
      f"      {_describe(field)}",
    ]
  return "\n".join(lines)


def settings_document(config: Any) -> str:
  """The text of docs/settings.md: every flag with its default, help, choices and range."""
  lines = [
    "# Settings",
    "",
    "This document answers one question: which flags are there, and what do they mean?",
    "",
    "It is generated from `muzero_jax/config.py` by `python -m launch.settings`; a test checks",
    "that it is up to date. Steps are agent steps, summed over all environments and devices,",
    "unless a setting says otherwise. Switches are set by `--name` and `--noname`.",
  ]
  group = None
  for name, (value, field) in configs.flatten(config).items():
    head = name.partition(".")[0] if "." in name else "The run"
    if head != group:
      group = head
      lines += ["", f"## {head}", "", "| flag | default | meaning |", "|---|---|---|"]
    default = str(value).lower() if isinstance(value, bool) else value
    lines.append(
      f"| `--{name}` | {'' if default == '' else f'`{default}`'} | "
      f"{_describe(field).replace('|', ' or ')} |"
    )
  return "\n".join(lines) + "\n"


def _describe(field: dataclasses.Field) -> str:
  choices, low, high = (field.metadata[key] for key in ("choices", "minimum", "maximum"))
  text = field.metadata["help"]
  if choices:
    return f"{text} [{', '.join(choices)}]"
  if low is not None or high is not None:
    return f"{text} [{'' if low is None else low}..{'' if high in (None, math.inf) else high}]"
  return text


def _sentence(error: flags.Error) -> str:
  """absl's message as one sentence in one line; for switches absl formats it as a tuple."""
  text = " ".join(
    str(error)
    .replace("ERROR:: ", "")
    .replace("('", "")
    .replace("', '", " ")
    .replace("')", "")
    .split()
  )
  return text if text.endswith((".", "?")) else f"{text}."
