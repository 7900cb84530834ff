"""The window in which a person plays, with pygame, which is an optional dependency."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from muzero_jax import optional
from muzero_jax.config import ConfigError
from muzero_jax.playing import keyboard

# SDL's names of video drivers that show nothing. They can be asked for, by SDL_VIDEODRIVER.
_BLIND = ("dummy", "offscreen")
# Keys that mean the same as others.
_OTHERS = {"w": keyboard.UP, "s": keyboard.DOWN, "a": keyboard.LEFT, "d": keyboard.RIGHT}
_HELD = (keyboard.UP, keyboard.DOWN, keyboard.LEFT, keyboard.RIGHT, keyboard.FIRE, *_OTHERS)


@contextlib.contextmanager
def opened(title: str) -> Iterator["Window"]:
  """A window, which is closed at the end.

  Raises:
    ConfigError: pygame is not installed, or there is no display.
  """
  os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
  with optional.needed("a window needs pygame", "play"):
    import pygame  # pyright: ignore[reportMissingImports]
  try:
    pygame.display.init()
    if pygame.display.get_driver() in _BLIND and "SDL_VIDEODRIVER" not in os.environ:
      raise pygame.error("no video device")
  except pygame.error as error:
    raise ConfigError(
      f"a window needs a display, and there is none here ({error}): run it on a desktop, or with a "
      "display forwarded (ssh -X)."
    ) from error
  try:
    pygame.display.set_caption(title)
    pygame.key.set_repeat(300, 80)  # milliseconds: a key held down counts again
    yield Window(pygame)
  finally:
    pygame.display.quit()


class Window:
  """A `seat.Screen`; made by `opened` with the module pygame."""

  def __init__(self, pygame: Any):
    self._pygame, self._surface, self._clock = pygame, None, pygame.time.Clock()
    names = (*_HELD, *map(str, range(10)))
    self._held = {pygame.key.key_code(name): _OTHERS.get(name, name) for name in names}

  def show(self, page: np.ndarray) -> None:
    """See `seat.Screen`. The first image determines the size of the window."""
    pygame, size = self._pygame, page.shape[1::-1]
    if self._surface is None:
      self._surface = pygame.display.set_mode(size)
    self._surface.blit(pygame.image.frombuffer(page.tobytes(), size, "RGB"), (0, 0))
    pygame.display.flip()

  def keys(self, held: bool) -> set[str] | None:
    """See `seat.Screen`. Closing the window or Esc means that the person leaves."""
    pygame, found = self._pygame, set()
    for event in pygame.event.get():
      leaves = event.type == pygame.KEYDOWN and event.key == pygame.K_ESCAPE
      if leaves or event.type == pygame.QUIT:
        return None
      if event.type == pygame.KEYDOWN:
        name = pygame.key.name(event.key).strip("[]")  # digits of the keypad are in brackets
        found.add(_OTHERS.get(name, name))
    if held:
      down = pygame.key.get_pressed()
      found |= {name for key, name in self._held.items() if down[key]}
    return found

  def wait(self, fps: float) -> None:
    """See `seat.Screen`."""
    self._clock.tick(fps)
