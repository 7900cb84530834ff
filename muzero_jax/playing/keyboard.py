"""Which key is which action, for a person who plays."""

from collections.abc import Mapping

# Keys that are parts of actions. All others are called by their digit or letter.
UP, DOWN, LEFT, RIGHT, FIRE = "up", "down", "left", "right", "space"
# Names of actions that do nothing.
_RESTING = ("noop", "stay")


class Keyboard:
  """Turns keys into actions.

  Names of actions are those of joysticks, as ALE writes them (UPRIGHTFIRE); in a game without UP
  and DOWN, such as Pong, the keys up and down mean right and left. Actions without names are chosen
  by digit.

  Args:
    actions: the number of each action that can be chosen by its name.
    count: number of actions.
  """

  def __init__(self, actions: Mapping[str, int], count: int):
    self._actions = {name.lower(): number for name, number in actions.items()}
    self._count = count
    # The action without a key.
    self.rest = next((self._actions[name] for name in _RESTING if name in self._actions), 0)
    turned = not any("up" in name or "down" in name for name in self._actions)
    self._also = {UP: RIGHT, DOWN: LEFT} if turned else {}

  def action(self, keys: set[str]) -> int | None:
    """The action that these keys mean; None if they mean none.

    Of keys that mean no action together, the first of these that do count: left and right with
    fire, up and down with fire, both directions, one direction, fire.
    """
    digits = [int(key) for key in keys if key.isdigit() and int(key) < self._count]
    if digits:
      return digits[0]
    keys = {self._also.get(key, key) for key in keys}
    upright = _one(keys, UP, DOWN)
    sideways = _one(keys, LEFT, RIGHT)
    fire = "fire" if FIRE in keys else ""
    for name in (
      upright + sideways + fire,
      sideways + fire,
      upright + fire,
      upright + sideways,
      sideways,
      upright,
      fire,
    ):
      if name and name in self._actions:
        return self._actions[name]
    return None

  def help(self) -> str:
    """Which keys there are, in a sentence."""
    if not any(name not in _RESTING for name in self._actions):
      return f"Keys: the digits 0 to {min(self._count, 10) - 1} are the actions; Esc leaves."
    fire = ", space fires" if any("fire" in name for name in self._actions) else ""
    return f"Keys: arrows or WASD move{fire}, P pauses, Esc leaves."


def _one(keys: set[str], first: str, second: str) -> str:
  """The one of two opposite keys that is pressed; "" if none or both are."""
  pressed = [key for key in (first, second) if key in keys]
  return pressed[0] if len(pressed) == 1 else ""
