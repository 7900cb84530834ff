"""Games and loss terms made outside of this package: a setting names the function."""

import importlib
from collections.abc import Callable, Iterable
from typing import Any

from muzero_jax.config import ConfigError
from muzero_jax.envs.pure import Game
from muzero_jax.types import Model, Term


def game(task: str) -> Game:
  """The game that `--env.task=MODULE:FUNCTION` names; the function takes nothing.

  Raises:
    ConfigError: there is no such function, or it returns no `Game`.
  """
  setting = f"--env.task={task}"
  return made(setting, Game, find(setting, task)())


def terms(text: str, model: Model, taken: Iterable[str]) -> dict[str, tuple[float, Term]]:
  """The loss terms that `--loss.custom=MODULE:FUNCTION=WEIGHT,...` names.

  Args:
    text: the flag's value; "" for none.
    model: what each function is called with.
    taken: names that terms may not have.

  Returns:
    Name of the function -> weight and term. The term's own parameters and its loss in the metrics
    have that name, too.

  Raises:
    ConfigError: there is no such function, it returns no `Term`, the weight is no number, or the
      name is taken.
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
      found[name] = float(weight), term
    except ValueError as error:
      example = "my_losses:entropy=0.01"
      raise ConfigError(f"{setting}: write MODULE:FUNCTION=WEIGHT, as in {example}.") from error
  return found


def find(setting: str, path: str) -> Callable[..., Any]:
  """The function at "MODULE:FUNCTION".

  Raises:
    ConfigError: there is none; the sentence begins with `setting`.
  """
  module, colon, name = path.partition(":")
  if not (module and colon and name):
    raise ConfigError(f"{setting}: write MODULE:FUNCTION, for example my_games:snake.")
  try:
    found = importlib.import_module(module)
  except ImportError as error:
    advice = "Python must find the module from here"
    raise ConfigError(f"{setting}: cannot be imported ({error}); {advice}.") from error
  if not callable(getattr(found, name, None)):
    raise ConfigError(f"{setting}: there is no function {name} in {module}.")
  return getattr(found, name)


def made(setting: str, kind: type, value: Any) -> Any:
  """What a function returned, as it is.

  Raises:
    ConfigError: it is of another type; the sentence begins with `setting`.
  """
  if not isinstance(value, kind):
    wanted = f"{kind.__module__}.{kind.__name__}"
    raise ConfigError(f"{setting}: returns {type(value).__name__}; it must return {wanted}.")
  return value
