"""Writes recorded episodes as an .mp4 file."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imageio.v2 as imageio

from muzero_jax.evaluation import canvas
from muzero_jax.evaluation.canvas import Canvas
from muzero_jax.evaluation.recording import Recording


def write(
  path: Path,
  recording: Recording,
  drawn: Canvas | None,
  fps: float,
  progress: Callable[[int], None] | None = None,
) -> None:
  """Writes a video.

  If that fails, nothing of it is left, because an incomplete file would take space.

  Args:
    path: the file, which appears when it is complete. Its folder is created if necessary.
    recording: what to show, a frame for every step.
    drawn: draws the game beside what the agent sees and thinks; None: the game alone.
    fps: agent steps per second of video.
    progress: called with the number of frames that are written.

  Raises:
    OSError: the file cannot be written; one line says why. What ffmpeg prints stands above it.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  draft = path.with_name(f".{path.name}.part.mp4")
  try:
    writer: Any = imageio.get_writer(
      draft, fps=fps, macro_block_size=2, quality=6, ffmpeg_params=["-preset", "veryfast"]
    )
    with writer as video, _in_one_line():
      for t, step in enumerate(recording.steps):
        video.append_data(drawn.draw(t) if drawn else canvas.game(step))
        if progress:
          progress(t + 1)
    _check(draft, len(recording.steps))
    os.replace(draft, path)
  finally:
    with contextlib.suppress(OSError):
      draft.unlink(missing_ok=True)


@contextlib.contextmanager
def _in_one_line() -> Iterator[None]:
  """Keeps the first line of what ffmpeg ended with; its command and a heading follow."""
  try:
    yield
  except OSError as error:
    raise OSError(f"ffmpeg has ended: {str(error).partition(chr(10))[0]}") from error


def _check(path: Path, frames: int) -> None:
  """Checks that a video has so many frames: imageio does not look at ffmpeg's exit code.

  Raises:
    OSError: it has not.
  """
  try:
    opened: Any = imageio.get_reader(path)
    with opened as reader:
      found = reader.count_frames()
  except Exception as error:  # imageio and ffmpeg raise errors of many kinds
    raise OSError("ffmpeg has not completed it") from error
  if found != frames:
    raise OSError(f"ffmpeg has written {found:,} of {frames:,} images")


def gif(path: Path, images: int = 120, width: int = 320) -> bytes:
  """The beginning of a video as an animated GIF, for places that show no videos.

  Args:
    path: the video.
    images: at most this many, every second one of the video.
    width: in pixels, at most: the frames are thinned out to it, without smoothing.

  Raises:
    OSError: the video cannot be read.
  """
  frames, fps = [], 0.0
  try:
    opened: Any = imageio.get_reader(path)
    with opened as reader:
      fps = reader.get_meta_data()["fps"]
      for number, frame in enumerate(reader):
        if len(frames) == images:
          break
        if number % 2 == 0:
          step = -(-frame.shape[1] // width)
          frames.append(frame[::step, ::step])
    write: Any = imageio.mimwrite  # its annotations do not know these arguments
    return write("<bytes>", frames, format="gif", duration=2000 / fps, loop=0)  # milliseconds
  except Exception as error:  # imageio and ffmpeg raise errors of many kinds
    raise OSError(f"{path} cannot be read: {error}") from error
