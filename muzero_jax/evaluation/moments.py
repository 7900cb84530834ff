"""Chooses moments of recorded episodes that are worth a look, and describes them for reports."""

import base64
import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from muzero_jax.evaluation import canvas
from muzero_jax.evaluation.recording import Recording
from muzero_jax.runs import workdir
from muzero_jax.search.trees import SearchTree

SURPRISING, DISPUTED, REGULAR = 2, 2, 4  # numbers of moments of each kind
SURPRISE, DISPUTE = "a surprising value", "prior and search disagree"  # reasons


def choose(recording: Recording) -> dict[int, list[str]]:
  """The chosen steps of a recording, in order, and why each was chosen.

  * The most surprising values: the largest |reward + discount * next value - value|, with the
    values of the search.
  * The largest disagreements of prior and search: the total variation distance of the policies.
  * Some at regular distances.

  Steps that were chosen for the same reason lie apart. The last step of an episode has no action
  and is never chosen, except if there is no other step.
  """
  times = [t for t in range(len(recording.steps)) if recording.rewards(t) is not None]
  apart = max(1, len(recording.steps) // 50)
  surprises = {t: surprise(recording, t) for t in times}
  distances = {t: disagreement(recording, t) for t in times}
  chosen: dict[int, list[str]] = {}
  for kind, number, found in (
    (SURPRISE, SURPRISING, surprises),
    (DISPUTE, DISPUTED, distances),
  ):
    for t in largest(found, number, apart):
      chosen.setdefault(t, []).append(kind)
  for place in np.linspace(0, len(times) - 1, REGULAR + 1)[:-1] if times else ():
    chosen.setdefault(times[int(place)], []).append("at a regular distance")
  return dict(sorted((chosen or {0: ["the only step"]}).items()))


def surprise(recording: Recording, t: int) -> float:
  """|reward + discount * next value - value| at step t, in the units of training."""
  step, after = recording.steps[t], recording.steps[t + 1]
  target = after.reward + recording.discount * after.discount * after.value
  return abs(target - step.value)


def disagreement(recording: Recording, t: int) -> float:
  """The total variation distance of the network's and the search's policy at step t, 0..1."""
  step = recording.steps[t]
  return float(np.abs(step.prior - step.policy).sum() / 2)


def largest(scores: dict[int, float], number: int, apart: int) -> Iterable[int]:
  """The steps with the largest positive scores, at least `apart` steps from each other."""
  chosen: list[int] = []
  for t in sorted(scores, key=lambda t: -scores[t]):
    if scores[t] > 0 and all(abs(t - other) >= apart for other in chosen):
      chosen.append(t)
    if len(chosen) == number:
      break
  return chosen


def found(recording: Recording) -> list[dict[str, Any]]:
  """The chosen moments, for JSON: why they were chosen, an image, numbers, and the tree."""
  described = []
  for t, why in choose(recording).items():
    step, reward = recording.steps[t], recording.rewards(t)
    image = canvas.png(canvas.fitted(canvas.as_image(step.image.array()), 160, 210))
    described.append(
      {
        "why": why,
        "episode": step.episode,
        "step": step.number,
        "score": step.score,
        "value": step.value,
        "predicted_value": step.predicted_value,
        "came": float(recording.returns[t]),
        "predicted_reward": step.predicted_reward,
        "reward": reward,
        "surprise": surprise(recording, t) if reward is not None else None,
        "disagreement": disagreement(recording, t),
        "picture": base64.b64encode(image).decode(),
        "tree": step.tree and step.tree.to_dict(),
      }
    )
  return described


@dataclasses.dataclass(frozen=True)
class Moment:
  """A moment as a file describes it; see `recording.Step` for units."""

  why: list[str]
  episode: int
  step: int
  score: float
  value: float
  predicted_value: float
  actual_return: float  # discounted
  predicted_reward: float
  reward: float
  surprise: float
  disagreement: float
  image: str  # a PNG file in base64
  tree: SearchTree | None


def read(path: Path) -> tuple[str, list[Moment]]:
  """The kind of search, and the moments, of the file that `Scoring.record` wrote.

  Raises:
    OSError: the file cannot be read, or there is none.
    ValueError: it holds something else.
  """
  try:
    found = json.loads(workdir.read(path))
    return str(found["search"]), [_moment(fields) for fields in found["moments"]]
  except (TypeError, KeyError, ValueError, OverflowError, RecursionError) as error:
    raise ValueError(f"it describes no moments: {error!r:.200}") from error


def _moment(fields: dict[str, Any]) -> Moment:
  numbers = {
    name: float(fields[name])
    for name in ("score", "value", "predicted_value", "disagreement", "predicted_reward")
  }
  # The last step of an episode has none.
  numbers |= {name: float(fields[name] or 0) for name in ("reward", "surprise")}
  return Moment(
    **numbers,
    actual_return=float(fields["came"]),
    why=[str(why) for why in fields["why"]],
    episode=int(fields["episode"]),
    step=int(fields["step"]),
    image=base64.b64encode(base64.b64decode(fields["picture"], validate=True)).decode(),
    tree=SearchTree.from_dict(fields["tree"]) if fields["tree"] is not None else None,
  )
