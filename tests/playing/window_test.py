"""The window, with a stand-in for pygame, which is an optional dependency."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from muzero_jax.config import ConfigError
from muzero_jax.playing import window

CODES = {name: code for code, name in enumerate(["escape", "up", "down", "left", "right", "space"])}


class Pygame:
  """What the window uses of pygame. Codes of letters and digits are those of ASCII."""

  error, KEYDOWN, QUIT, K_ESCAPE = RuntimeError, "key down", "quit", 0

  def __init__(self, driver="x11"):
    self.calls, self.events, self.down = [], [], set()
    self.display = SimpleNamespace(
      init=lambda: None,
      get_driver=lambda: driver,
      set_caption=self.calls.append,
      set_mode=lambda size: self.calls.append(size) or SimpleNamespace(blit=self._blit),
      flip=lambda: None,
      quit=lambda: self.calls.append("quit"),
    )
    self.key = SimpleNamespace(
      set_repeat=lambda *times: None,
      key_code=lambda name: CODES.get(name, ord(name[0])),
      name=lambda code: next((n for n, c in CODES.items() if c == code), f"[{chr(code)}]"),
      get_pressed=lambda: {code: code in self.down for code in range(128)},
    )
    self.event = SimpleNamespace(get=lambda: self.events)
    self.time = SimpleNamespace(Clock=lambda: SimpleNamespace(tick=self.calls.append))
    self.image = SimpleNamespace(frombuffer=lambda *given: given)

  def _blit(self, image, place):
    self.calls.append((len(image[0]), *image[1:], place))

  def press(self, *codes):
    self.events = [SimpleNamespace(type=self.KEYDOWN, key=code) for code in codes]


@pytest.fixture
def opened(monkeypatch):
  pygame = Pygame()
  monkeypatch.setitem(sys.modules, "pygame", pygame)
  with window.opened("Pong") as screen:
    yield pygame, screen
  assert pygame.calls[0] == "Pong" and pygame.calls[-1] == "quit"


def test_keys_by_their_names(opened):
  """Letters that move, digits of both kinds, keys that are held down, and leaving."""
  pygame, screen = opened
  pygame.press(ord("w"), ord("7"), ord("p"), CODES["space"])
  assert screen.keys(held=False) == {"up", "7", "p", "space"}
  pygame.press()
  pygame.down = {CODES["left"], ord("s")}
  assert screen.keys(held=False) == set() and screen.keys(held=True) == {"left", "down"}
  pygame.press(0)
  assert screen.keys(held=True) is None
  pygame.events = [SimpleNamespace(type=pygame.QUIT)]
  assert screen.keys(held=False) is None


def test_the_first_image_makes_the_window(opened):
  pygame, screen = opened
  for _ in range(2):
    screen.show(np.zeros((20, 30, 3), np.uint8))
  screen.wait(15.0)
  shown = (1800, (30, 20), "RGB", (0, 0))
  assert pygame.calls == ["Pong", (30, 20), shown, shown, 15.0]


def test_without_a_display_there_is_one_sentence(monkeypatch):
  """SDL then takes a driver without one, which is right only if that was asked for."""
  monkeypatch.setitem(sys.modules, "pygame", Pygame("offscreen"))
  monkeypatch.delenv("SDL_VIDEODRIVER", raising=False)
  with pytest.raises(ConfigError, match="needs a display, and there is none"):
    window.opened("a game").__enter__()
  monkeypatch.setenv("SDL_VIDEODRIVER", "offscreen")
  with window.opened("a game"):
    pass
