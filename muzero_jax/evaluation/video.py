"""Records one episode as an .mp4 file."""

import os
from pathlib import Path
from typing import Any

import imageio.v2 as imageio
import jax
import numpy as np

from muzero_jax.evaluation.evaluator import Evaluator
from muzero_jax.types import Key, Params


def record_game(
  evaluator: Evaluator,
  params: Params,
  key: Key,
  path: Path,
  *,
  renderer: Any = None,
  fps: int = 30,
  max_steps: int = 27000,
) -> tuple[float, int]:
  """Plays an episode and writes it to a video file.

  Args:
    evaluator: with one environment.
    params: the model's parameters, on one device.
    key: for the search.
    path: the file, which appears when it is complete. Its folder is created if necessary.
    renderer: an EnvPool of one environment with the same seed and settings except for the size and
      color of its images (`envs.envpool.renderer`). It is stepped with the same actions, and its
      images make the video. None makes the video of the frames that the agent sees.
    fps: agent steps per second of video (15 is the speed of Atari at a frame skip of 4).
    max_steps: agent steps after which the recording stops.

  Returns:
    The raw return and the number of agent steps.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  draft = path.with_name(f".{path.name}.part.mp4")
  step = jax.jit(evaluator.step)
  player = evaluator.start(key)
  picture = None if renderer is None else renderer.reset()[0]
  score, steps = 0.0, 0
  writer: Any = imageio.get_writer(draft, fps=fps, macro_block_size=2, quality=6)
  with writer as video:
    while steps <= max_steps:
      player, time, decision = step(params, player)
      score += float(time.reward[0])
      video.append_data(
        _image(np.asarray(time.frame[0]) if picture is None else np.moveaxis(picture[0], 0, -1))
      )
      if bool(time.last[0]):
        break
      steps += 1
      if renderer is not None:
        picture = renderer.step(np.asarray(decision.action))[0]
  jax.block_until_ready(player)
  os.replace(draft, path)
  return score, steps


def _image(frame: np.ndarray) -> np.ndarray:
  """Converts a frame of any shape and dtype to an image u8[H, W, 3].

  Frames whose shorter side is below 160 pixels are enlarged to at least that. The factor is even,
  because the video encoder needs an even height and width.
  """
  if frame.dtype != np.uint8:
    frame = (255 * np.clip(frame, 0, 1)).astype(np.uint8)
  if frame.ndim == 1:
    frame = frame[None]
  if frame.ndim == 2:
    frame = np.repeat(frame[..., None], 3, -1)
  elif frame.shape[-1] != 3:  # planes: each one has a shade of gray, and the lightest one wins
    shades = np.linspace(255, 100, frame.shape[-1])
    frame = np.repeat((shades * (frame > 0)).max(-1).astype(np.uint8)[..., None], 3, -1)
  scale = 2 * -(-80 // min(frame.shape[:2])) if min(frame.shape[:2]) < 160 else 1
  return np.repeat(np.repeat(frame, scale, 0), scale, 1)
