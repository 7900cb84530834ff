"""Loads environments and loss terms that users define in modules of their own.

A setting names the function that makes one, as MODULE:FUNCTION (docs/library.md).
"""

import importlib
from collections.abc import Callable, Iterable
from typing import Any

from muzero_jax.config import ConfigError
from muzero_jax.envs.pure import Game
from muzero_jax.types import Model, Term


def game(task: str) -> Game:
  """Makes the game that `--env.task=MODULE:FUNCTION` names; the function takes no arguments.

  Raises:
    ConfigError: there is no such function, or it does not return a `Game`.
  """
  setting = f"--env.task={task}"
  return made(setting, Game, find(setting, task)())


def terms(text: str, model: Model, taken: Iterable[str]) -> dict[str, tuple[float, Term]]:
  """Makes the loss terms that `--loss.custom=MODULE:FUNCTION=WEIGHT,...` names.

  Args:
    text: the flag's value; "" for none.
    model: the argument with which each function is called.
    taken: names that are already in use.

  Returns:
    Name of the function -> weight and term, without those of weight 0. The term's parameters and
    its metric have that name, too.

  Raises:
    ConfigError: there is no such function, it does not return a `Term`, the weight is not a
      number, or the name is taken.
  """
  found: dict[str, tuple[float, Term]] = {}
  setting = f"--loss.custom={text}"
  for part in filter(None, text.split(",")):
    path, _, weight = part.partition("=")
    name = path.rpartition(":")[2]
    if name in (*taken, *found):
      raise ConfigError(f"{setting}: there is a term called {name} already; take another name.")
    term = made(setting, Term, find(setting, path)(model))
    try:
      if float(weight):  # a term with weight 0 would only be computed
        found[name] = float(weight), term
    except ValueError as error:
      example = "my_losses:entropy=0.01"
      raise ConfigError(f"{setting}: write MODULE:FUNCTION=WEIGHT, as in {example}.") from error
  return found


def find(setting: str, path: str) -> Callable[..., Any]:
  """Imports the function that "MODULE:FUNCTION" names.

  Raises:
    ConfigError: there is none. The message begins with `setting`.
  """
  module, colon, name = path.partition(":")
  if not (module and colon and name):
    raise ConfigError(f"{setting}: write MODULE:FUNCTION, for example my_games:snake.")
  try:
    found = importlib.import_module(module)
  except ImportError as error:
    advice = "the module must be on Python's path"
    raise ConfigError(f"{setting}: cannot be imported ({error}); {advice}.") from error
  if not callable(getattr(found, name, None)):
    raise ConfigError(f"{setting}: there is no function {name} in {module}.")
  return getattr(found, name)


def made(setting: str, kind: type, value: Any) -> Any:
  """Returns `value` unchanged if it is of type `kind`.

  Raises:
    ConfigError: it is of another type. The message begins with `setting`.
  """
  if not isinstance(value, kind):
    wanted = f"{kind.__module__}.{kind.__name__}"
    raise ConfigError(f"{setting}: returns {type(value).__name__}; it must return {wanted}.")
  return value
