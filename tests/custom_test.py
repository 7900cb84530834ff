"""Games and terms of one's own: what cannot be found or used is refused in a sentence."""

import sys
import types

import pytest

from muzero_jax import build, custom
from muzero_jax.config import ConfigError
from muzero_jax.envs import catch
from muzero_jax.losses import muzero
from tests import builders


@pytest.fixture(autouse=True)
def own(monkeypatch):
  """A module with a game, two terms, and what is neither."""
  module = types.ModuleType("own")
  module.game, module.first, module.second = catch.catch, muzero.reward, muzero.value
  module.neither, module.number = lambda *_: 3, 4
  monkeypatch.setitem(sys.modules, "own", module)


def test_names_and_weights_reach_the_terms():
  assert custom.game("own:game").num_actions == 3
  found = custom.terms("own:first=0.5,own:second=2", None, taken=("value",))
  assert {name: weight for name, (weight, _) in found.items()} == {"first": 0.5, "second": 2.0}
  assert custom.terms("", None, taken=()) == {}
  assert custom.terms("own:first=0,own:second=1", None, taken=()).keys() == {"second"}


@pytest.mark.parametrize(
  ("task", "said"),
  [
    ("own", "write MODULE:FUNCTION"),
    ("nowhere:game", "No module named 'nowhere'"),
    ("own:nothing", "there is no function nothing in own"),
    ("own:number", "there is no function number in own"),
    ("own:neither", "returns int; it must return muzero_jax.envs.pure.Game"),
  ],
)
def test_a_game_that_cannot_be(task, said):
  with pytest.raises(ConfigError, match=f"^--env.task={task}: .*{said}"):
    custom.game(task)


@pytest.mark.parametrize(
  ("text", "said"),
  [
    ("own:first", "write MODULE:FUNCTION=WEIGHT"),
    ("own:first=much", "write MODULE:FUNCTION=WEIGHT"),
    ("own:first=1,own:first=2", "called first already"),
    ("own:value=1", "called value already"),
    ("own:neither=1", "must return muzero_jax.types.Term"),
  ],
)
def test_a_term_that_cannot_be(text, said):
  with pytest.raises(ConfigError, match=f"^--loss.custom={text}: .*{said}"):
    custom.terms(text, None, taken=("value",))


def test_weights_that_are_all_zero_are_refused():
  nothing = dict(loss__reward=0.0, loss__value=0.0, loss__policy=0.0)
  config = builders.config(env__kind="catch", loss__custom="own:first=0", **nothing)
  with pytest.raises(ConfigError, match=r"^--loss.custom=own:first=0: .* nothing would be learned"):
    build.build(config)
