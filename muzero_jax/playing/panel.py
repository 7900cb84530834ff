"""Draws what a person who plays looks at: the game, and beside it what the agent thinks."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from muzero_jax.evaluation.canvas import (
  ACTUAL,
  FAINT,
  GROUND,
  NETWORK,
  SEARCH,
  TEXT,
  as_image,
  fitted,
)
from muzero_jax.playing.seat import Opinion, View
from muzero_jax.search.drawing import decimal

_BOX = (480, 630)  # width and height that the game fills: three times an Atari screen
_BESIDE = 380  # width of the agent's part
_TOP, _BOTTOM = 44, 36  # height of the lines above and below the game


class Panel:
  """Draws one step after the other.

  Args:
    title: of the game.
    below: a line below the game.
    names: of the agent's actions; (): their numbers.
  """

  def __init__(self, title: str, below: str = "", names: Sequence[str] = ()):
    self._title, self._below, self._names = title, below, names
    self._fonts = {size: ImageFont.load_default(size) for size in (11, 13, 16)}

  def draw(self, view: View) -> np.ndarray:
    """The image of a step, u8[H, W, 3]; all steps of a game have the same size."""
    width = 32 + _BOX[0] + (_BESIDE if view.opinion else 0)
    page = Image.new("RGB", (width, _TOP + _BOX[1] + _BOTTOM), GROUND)
    draw = ImageDraw.Draw(page)
    over = "   the episode is over" if view.last else ""
    head = f"{self._title}   step {view.number:,}   score {view.score:g}{over}"
    self._say(draw, (16, 12), head, 16, ACTUAL if view.last else TEXT)
    image = fitted(as_image(view.image), *_BOX)
    left, top = (whole - size for whole, size in zip(_BOX, image.shape[1::-1], strict=True))
    page.paste(Image.fromarray(image), (16 + left // 2, _TOP + top // 2))
    self._say(draw, (16, _TOP + _BOX[1] + 10), self._below, 13, FAINT)
    if view.opinion:
      self._thoughts(draw, view.opinion)
    return np.asarray(page)

  def _say(self, draw, place, text: str, size: int = 13, fill: str = TEXT, anchor="la") -> None:
    draw.text(place, text, fill=fill, font=self._fonts[size], anchor=anchor)

  def _thoughts(self, draw, opinion: Opinion) -> None:
    left, top = 32 + _BOX[0], _TOP
    value = f"value   search {decimal(opinion.value)}   network {decimal(opinion.predicted_value)}"
    self._say(draw, (left, top), value, 13)
    x = left
    for text, color in (("network's prior", NETWORK), ("search's policy", SEARCH)):
      draw.rectangle((x, top + 31, x + 9, top + 40), fill=color)
      self._say(draw, (x + 14, top + 28), text, 13, FAINT)
      x += 130
    self._say(draw, (left + _BESIDE - 24, top + 28), "Q", 13, FAINT, "ra")
    row = min(30, (_BOX[1] - 60) // len(opinion.prior))
    for action in range(len(opinion.prior)):
      self._action(draw, opinion, action, (left, top + 56 + action * row), row)

  def _action(self, draw, opinion: Opinion, action: int, place: tuple[int, int], row: int) -> None:
    (left, y), half, scale = place, (row - 4) / 2, 170
    name = self._names[action] if action < len(self._names) else f"action {action}"
    color = ACTUAL if action == opinion.action else TEXT
    middle = y + row / 2 - 2
    self._say(draw, (left + 104, middle), name, 13 if row >= 16 else 11, color, "rm")
    bars = (opinion.prior, NETWORK), (opinion.policy, SEARCH)
    for number, (shares, fill) in enumerate(bars):
      length, upper = round(scale * float(np.nan_to_num(shares[action]))), y + number * half
      if length:
        x = left + 114
        draw.rectangle((x, upper, x + length - 1, upper + half - 1), fill=fill)
    q = float(opinion.q[action])
    text = "not visited" if np.isnan(q) else decimal(q)
    self._say(draw, (left + _BESIDE - 24, middle), text, 13 if row >= 16 else 11, color, "rm")
