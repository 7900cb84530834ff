"""Draws recorded episodes: the game alone, or beside it what the agent sees and thinks.

What does not change from step to step (labels, the curves of the whole recording) is drawn once.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from muzero_jax.evaluation.recording import Recording, Step
from muzero_jax.search.drawing import decimal

BOX = (320, 420)  # width and height that the game fills: twice an Atari screen
_SIZE = (840, 556)
_RIGHT, _WIDTH = 352, 472  # left edge and width of what stands beside the game
_STACK, _CELL, _SHOWN = 58, 110, 4  # top, size and greatest number of the agent's frames
_BARS, _BARS_HEIGHT = 196, 180
_WORDS = 388
_CURVE = (16, 478, 808, 66)  # left, top, width, height of the curves
GROUND, TEXT, FAINT = "#14161a", "#e8e8e8", "#8a8f98"
NETWORK, SEARCH, ACTUAL = "#8a8f98", "#4f9be0", "#f0913a"
# Of the planes of a board, as MinAtar has them.
_PLANES = ("#4f9be0", "#f0913a", "#2f9e5b", "#c94f4f", "#8a63c7", "#d0c050", "#d069a8", "#1fa3b0")


def as_image(frame: np.ndarray) -> np.ndarray:
  """Converts a frame of any shape and dtype to an image u8[H, W, 3].

  Numbers that are not pixels are shown as gray levels: 0 is middle gray.
  """
  if frame.ndim == 1:
    frame = frame[None]
  if frame.dtype != np.uint8:
    frame = (127.5 * (1 + np.tanh(np.nan_to_num(frame)))).astype(np.uint8)
  if frame.ndim == 2:
    return np.repeat(frame[..., None], 3, -1)
  if frame.shape[-1] == 3:
    return frame
  image = np.zeros((*frame.shape[:2], 3), np.uint8)
  for plane in reversed(range(frame.shape[-1])):  # the first one on top
    image[frame[..., plane] > 0] = _rgb(_PLANES[plane % len(_PLANES)])
  return image


def fitted(image: np.ndarray, width: int, height: int) -> np.ndarray:
  """Enlarges an image u8[H, W, 3] by the largest whole factor that fits, or shrinks it to fit."""
  factor = min(height // image.shape[0], width // image.shape[1])
  if factor >= 1:
    return image.repeat(factor, 0).repeat(factor, 1)
  share = min(height / image.shape[0], width / image.shape[1])
  size = max(1, int(image.shape[1] * share)), max(1, int(image.shape[0] * share))
  return np.asarray(Image.fromarray(image).resize(size))


def game(step: Step) -> np.ndarray:
  """The game alone, u8[H, W, 3]; height and width are even, as the encoder of videos needs them."""
  image = fitted(as_image(step.image.array()), *BOX)
  odd = [(0, size % 2) for size in image.shape[:2]]
  return np.pad(image, [*odd, (0, 0)])


def png(image: np.ndarray) -> bytes:
  """An image u8[H, W, 3] as a PNG file."""
  file = io.BytesIO()
  Image.fromarray(image).save(file, "png", optimize=True)
  return file.getvalue()


class Canvas:
  """Draws the steps of a recording.

  Args:
    recording: at least one step.
    title: of the run.
    names: of the actions; (): their numbers.
    simulations: of the search; 0: it has no tree.
  """

  def __init__(
    self, recording: Recording, title: str, names: Sequence[str] = (), simulations: int = 0
  ):
    self._recording, self._title, self._simulations = recording, title, simulations
    actions = len(recording.steps[0].prior)
    self._names = [names[i] if i < len(names) else f"action {i}" for i in range(actions)]
    self._row = min(24, _BARS_HEIGHT // actions)
    self._fonts = {size: ImageFont.load_default(size) for size in (9, 12, 13, 15)}
    # Pixels per step; where the whole recording is wider than the canvas, a part of it is shown.
    self._pitch = int(np.clip(_CURVE[2] // len(recording.steps), 3, 16))
    self._base, self._curves = self._ground(), self._drawn_curves()

  def draw(self, t: int) -> np.ndarray:
    """The image of step t, u8[H, W, 3]."""
    step, page = self._recording.steps[t], self._base.copy()
    draw = ImageDraw.Draw(page)
    self._say(draw, (16, 10), f"{self._title}   step {step.number:,}   score {step.score:g}", 15)
    image = fitted(as_image(step.image.array()), *BOX)
    page.paste(Image.fromarray(image), (16 + (BOX[0] - image.shape[1]) // 2, 40))
    self._stack(page, t)
    self._policies(draw, step)
    self._values(draw, t)
    self._window(page, draw, t)
    return np.asarray(page)

  def _say(self, draw, place, text: str, size: int = 13, fill: str = TEXT, anchor="la") -> None:
    draw.text(place, text, fill=fill, font=self._fonts[size], anchor=anchor)

  def _ground(self) -> Image.Image:
    """The background and all labels."""
    page = Image.new("RGB", _SIZE, GROUND)
    draw = ImageDraw.Draw(page)
    shape = self._recording.steps[0].frame.shape
    stack, size = self._recording.stack, "x".join(map(str, shape[:2]))
    shown = f"{stack} frames" if stack > 1 else "one frame"
    if stack > _SHOWN:
      shown = f"the newest {_SHOWN} of {stack} frames"
    self._say(draw, (_RIGHT, 38), f"the agent sees {shown} of {size}", 12, FAINT)
    self._legend(draw, (_RIGHT, 176), [("network's prior", NETWORK), ("search's policy", SEARCH)])
    labels = [("value of the search", SEARCH), ("actual discounted return", ACTUAL)]
    self._legend(draw, (16, 462), labels)
    below = [("reward predicted", SEARCH), ("actual reward", ACTUAL)]
    self._legend(draw, (_RIGHT + 68, 462), below, "bars: ")
    for action, name in enumerate(self._names):
      size = 12 if self._row >= 14 else 9
      place = (_RIGHT + 92, _BARS + action * self._row + self._row / 2)
      self._say(draw, place, name, size, TEXT, "rm")
    return page

  def _legend(self, draw, place, labels: Sequence[tuple[str, str]], head: str = "") -> None:
    x, y = place
    self._say(draw, (x, y), head, 12, FAINT)
    x += draw.textlength(head, self._fonts[12])
    for text, color in labels:
      draw.rectangle((x, y + 3, x + 9, y + 12), fill=color)
      self._say(draw, (x + 14, y), text, 12, FAINT)
      x += 32 + draw.textlength(text, self._fonts[12])

  def _stack(self, page: Image.Image, t: int) -> None:
    frames = self._recording.frames(t)[-_SHOWN:]
    for i, frame in enumerate(frames):
      image = Image.fromarray(fitted(as_image(frame), _CELL, _CELL))
      page.paste(image, (_RIGHT + i * (_CELL + 10), _STACK))

  def _policies(self, draw, step: Step) -> None:
    left, width, row = _RIGHT + 104, 270, self._row
    for action, (prior, policy) in enumerate(zip(step.prior, step.policy, strict=True)):
      y = _BARS + action * row
      half = (row - 2) / 2
      draw.rectangle((left, y, left + width * float(prior), y + half - 1), fill=NETWORK)
      draw.rectangle((left, y + half, left + width * float(policy), y + 2 * half - 1), fill=SEARCH)
      chosen = action == step.action and not step.last
      if chosen:
        draw.rectangle((_RIGHT - 6, y, _RIGHT - 3, y + 2 * half - 1), fill=ACTUAL)
      place = (left + 360, y + row / 2 - 1)
      size = 12 if row >= 14 else 9
      text = f"{100 * float(prior):.0f} to {100 * float(policy):.0f} %"
      self._say(draw, place, text, size, ACTUAL if chosen else FAINT, "rm")

  def _values(self, draw, t: int) -> None:
    step, actual = self._recording.steps[t], self._recording.rewards(t)
    value = f"value   search {decimal(step.value)}   network {decimal(step.predicted_value)}"
    self._say(draw, (_RIGHT, _WORDS), value)
    text = f"actual return {decimal(self._recording.returns[t])}"
    self._say(draw, (_RIGHT + 250, _WORDS), text, 13, ACTUAL)
    if actual is None:
      reward, after = "reward   the episode is over", ""
    else:
      reward, after = f"reward   predicted {decimal(step.predicted_reward)}", f"actual {actual:g}"
    self._say(draw, (_RIGHT, _WORDS + 20), reward)
    self._say(draw, (_RIGHT + 250, _WORDS + 20), after, 13, ACTUAL)
    depth = (
      f"search   {self._simulations} simulations, depth {step.depth}"
      if self._simulations
      else f"search   no tree, looks {step.depth} step ahead"
    )
    self._say(draw, (_RIGHT, _WORDS + 40), depth)

  def _drawn_curves(self) -> Image.Image:
    """The curves of the whole recording, as wide as that takes."""
    steps, returns = self._recording.steps, self._recording.returns
    height, pitch = _CURVE[3], self._pitch
    page = Image.new("RGB", (max(_CURVE[2], len(steps) * pitch), height), "#1d2026")
    draw = ImageDraw.Draw(page)
    values = np.array([step.value for step in steps])
    both = np.concatenate([values, returns, [0.0]])
    low, high = float(both.min()), float(both.max())
    scale = (height - 8) / max(high - low, 1e-3)

    def place(t: int, y: float) -> tuple[float, float]:
      return (t + 0.5) * pitch, height - 4 - (y - low) * scale

    zero = place(0, 0.0)[1]
    draw.line((0, zero, page.width, zero), fill="#444a55")
    rewards = [self._recording.rewards(t) or 0.0 for t in range(len(steps))]
    largest = max([1e-3, *map(abs, rewards), *(abs(step.predicted_reward) for step in steps)])
    for t, (step, actual) in enumerate(zip(steps, rewards, strict=True)):
      x = t * pitch
      if step.last:
        draw.line((x + pitch - 1, 0, x + pitch - 1, height), fill=FAINT)
        continue
      for reward, begin, color in ((step.predicted_reward, 0.0, SEARCH), (actual, 0.5, ACTUAL)):
        size = reward / largest * 0.4 * height
        if abs(size) >= 1:
          top, bottom = sorted((zero, zero - size))
          left = x + begin * pitch
          draw.rectangle((left, top, left + max(0.0, pitch / 2 - 1), bottom), fill=color)
    starts = [t for t, step in enumerate(steps) if step.number == 0]
    for begin, end in zip(starts, [*starts[1:], len(steps)], strict=True):
      for line, color in ((returns, ACTUAL), (values, SEARCH)):
        points = [place(t, float(line[t])) for t in range(begin, end)]
        if len(points) > 1:
          draw.line(points, fill=color, width=2)
    return page

  def _window(self, page: Image.Image, draw, t: int) -> None:
    """The part of the curves around step t, and a mark at it."""
    left, top, width, height = _CURVE
    now = int((t + 0.5) * self._pitch)
    begin = int(np.clip(now - width // 2, 0, self._curves.width - width))
    page.paste(self._curves.crop((begin, 0, begin + width, height)), (left, top))
    x = left + now - begin
    draw.line((x, top - 3, x, top + height + 3), fill=TEXT)


def _rgb(color: str) -> tuple[int, ...]:
  return tuple(bytes.fromhex(color[1:]))
