"""The command `muzero-jax`, or `python -m launch` in a clone: runs one of the commands here.

muzero-jax COMMAND [--flag=value ...]
"""

import ast
import difflib
import importlib
import os
import sys
from pathlib import Path

from launch import cli


def main() -> None:
  """Calls the command that is named first on the command line."""
  # As with `python -m`, modules in the current folder can be imported (for --env.kind=custom, for
  # example). Installed modules have precedence.
  sys.path.append(os.getcwd())
  cli.run(dispatch)


def dispatch(argv: list[str]) -> int | None:
  """Calls a command and returns what it returns.

  Args:
    argv: the name of this program, the name of the command, and the command's flags.

  Raises:
    ConfigError: there is no such command.
  """
  from muzero_jax import __version__
  from muzero_jax.config import ConfigError

  name, flags = [*argv, ""][1], argv[2:]
  if name in ("", "help", "-h", "-help", "--help"):
    print(help_text())
    return None if name else 2
  if name == "--version":
    print(__version__)
    return None
  if name not in commands():
    near = difflib.get_close_matches(name, commands(), 1)
    asked = f"; did you mean {near[0]}?" if near else "."
    raise ConfigError(f"'{name}' is not a command{asked} There are {', '.join(commands())}.")
  return importlib.import_module(f"launch.{name}").main([name, *flags])


def commands() -> dict[str, str]:
  """The commands: name -> first line of the docstring.

  A command is a module in this folder that defines `main`. Modules are parsed, not imported.
  """
  found = {}
  for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
    module = ast.parse(path.read_text())
    if any(isinstance(node, ast.FunctionDef) and node.name == "main" for node in module.body):
      found[path.stem] = (ast.get_docstring(module) or "").partition("\n")[0]
  return found


def help_text() -> str:
  """The help text of `muzero-jax` itself, which lists the commands."""
  lines = ["muzero-jax COMMAND [--flag=value ...]", ""]
  lines += [f"  {name:10} {does}" for name, does in commands().items()]
  return "\n".join([*lines, "", "muzero-jax COMMAND --help lists a command's flags."])


if __name__ == "__main__":
  main()
