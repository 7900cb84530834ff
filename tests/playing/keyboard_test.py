"""Keys and the actions they mean."""

import pytest

from muzero_jax.envs import actions
from muzero_jax.playing.keyboard import Keyboard

ALL = {name: number for number, name in enumerate(actions.ALL)}


@pytest.mark.parametrize(
  ("keys", "name"),
  [
    ({"up", "right", "space"}, "UPRIGHTFIRE"),
    ({"down", "left"}, "DOWNLEFT"),
    ({"left", "space"}, "LEFTFIRE"),
    ({"up", "down", "left"}, "LEFT"),  # opposite keys cancel each other
    ({"space"}, "FIRE"),
  ],
)
def test_keys_are_those_of_a_joystick(keys, name):
  keyboard = Keyboard(ALL, 18)
  assert keyboard.action(keys) == ALL[name]
  assert keyboard.action({"q"}) is None and keyboard.action({"left", "right"}) is None
  assert keyboard.rest == ALL["NOOP"] == 0


def test_in_pong_up_is_right():
  """Its racket has a dial: of the 18 actions it uses those without UP and DOWN."""
  keyboard = Keyboard(actions.playable("envpool", "Pong-v5", 18), 18)
  assert keyboard.action({"up"}) == ALL["RIGHT"] and keyboard.action({"down"}) == ALL["LEFT"]
  assert keyboard.action({"up", "space"}) == ALL["RIGHTFIRE"]
  assert actions.playable("envpool", "Seaquest-v5", 18) == ALL


def test_an_action_that_the_game_does_not_have_is_a_part_of_it():
  keyboard = Keyboard({"left": 0, "stay": 1, "right": 2}, 3)  # Catch
  assert keyboard.action({"left", "space"}) == 0 and keyboard.rest == 1
  assert keyboard.action({"space"}) is None
  assert keyboard.help() == "Keys: arrows or WASD move, P pauses, Esc leaves."


def test_actions_without_names_are_digits():
  keyboard = Keyboard({}, 4)
  assert keyboard.action({"3"}) == 3 and keyboard.action({"4"}) is None
  assert keyboard.action({"left"}) is None and keyboard.rest == 0
  assert keyboard.help() == "Keys: the digits 0 to 3 are the actions; Esc leaves."
