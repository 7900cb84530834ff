"""Probes hidden states for information about the game: linear regressions to the emulator's RAM.

For every RAM byte, three regressions are fitted. `now`: from the hidden state of step t to the byte
at t. `predicted`: from the hidden state that the dynamics network predicts for t+1 to the byte at
t+1. `without_action`: from the hidden state of step t to the byte at t+1, thus without knowledge of
the action. Where the last two explain equally much, the dynamics network has not encoded the effect
of the action.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.envs.envpool import Observed
from muzero_jax.evaluation.evaluator import push
from muzero_jax.networks.model import initial_inference
from muzero_jax.search.base import Search
from muzero_jax.types import Array, Key, Model, Params, TimeStep

# RAM bytes with known meanings (Anand et al. 2019, "AtariARI"). Steps at which one of these bytes
# is 0 are left out, since then, for example, no ball is in play.
NAMES = {
  "Pong-v5": {51: "own paddle", 50: "other paddle", 49: "ball x", 54: "ball y"},
  "Breakout-v5": {72: "paddle", 99: "ball x", 101: "ball y"},
  "Boxing-v5": {32: "own x", 34: "own y", 33: "other x", 35: "other y"},
  "Freeway-v5": {14: "chicken y"},
  "MsPacman-v5": {10: "own x", 16: "own y"},
}
RIDGE = 0.1  # regularization of the regressions; features are within 0..1


@dataclasses.dataclass(frozen=True)
class Recording:
  """T transitions t -> t+1 in each of B environments. Hidden states are flattened to D units."""

  hidden: np.ndarray  # f32[T, B, D]   encoded at t
  predicted: np.ndarray  # f32[T, B, D]   by the dynamics network, from `hidden` and the action
  before: np.ndarray  # u8[T, B, 128]   RAM at t
  after: np.ndarray  # u8[T, B, 128]   RAM at t+1
  valid: np.ndarray  # bool[T, B]   t and t+1 belong to the same episode


def record(
  model: Model,
  params: Params,
  search: Search,
  games: Observed,
  key: Key,
  *,
  stack: int,
  steps: int,
  random: float = 0.5,
) -> Recording:
  """Plays, and records hidden states and RAM.

  Args:
    model: the agent's network.
    params: the parameters of the model and the search.
    search: chooses the actions that are not random.
    games: B environments, which this function resets and steps.
    key: for the search and for random actions.
    stack: S, frames that the network sees.
    steps: T, agent steps in each environment.
    random: fraction of actions that are uniformly random. Without these, the action could be
      inferred from the state, and the regression `without_action` would know it.
  """

  @jax.jit
  def look(frames: Array, time: TimeStep, key: Key) -> tuple:
    frames = push(frames, time)
    search_key, action_key, random_key = jax.random.split(key, 3)
    origin = initial_inference(model, params, frames)
    chosen = search(params, search_key, origin).action
    drawn = jax.random.randint(action_key, chosen.shape, 0, games.num_actions, jnp.int32)
    action = jnp.where(jax.random.uniform(random_key, chosen.shape) < random, drawn, chosen)
    predicted, _ = model.step(params, origin.hidden, action)
    size = action.shape[0]
    return frames, action, origin.hidden.reshape(size, -1), predicted.reshape(size, -1)

  time, ram = games.reset()
  frames = jnp.zeros((time.frame.shape[0], stack, *time.frame.shape[1:]), time.frame.dtype)
  rows = []
  for step_key in jax.random.split(key, steps):
    frames, action, hidden, predicted = look(frames, time, step_key)
    ended, before = np.asarray(time.last), ram
    time, ram = games.step(np.asarray(action))
    rows.append(
      (np.asarray(hidden), np.asarray(predicted), before, ram, ~(ended | np.asarray(time.first)))
    )
  return Recording(*(np.stack(column) for column in zip(*rows, strict=True)))


def explained(
  recording: Recording, bytes_of: list[int], needed: list[int]
) -> dict[str, np.ndarray]:
  """The fraction of the variance of RAM bytes that the regressions explain.

  They are fitted on the first half of the environments and tested on the second half.

  Args:
    recording: of at least two environments.
    bytes_of: the RAM bytes to predict.
    needed: steps at which one of these bytes is 0 are left out.

  Returns:
    "now", "predicted" and "without_action", f64[len(bytes_of)] each; NaN where a byte does not
    change.
  """
  valid = (
    recording.valid
    & np.all(recording.before[..., needed] > 0, -1)
    & np.all(recording.after[..., needed] > 0, -1)
  )
  half = recording.hidden.shape[1] // 2
  fitted, tested = valid.copy(), valid.copy()
  fitted[:, half:] = False
  tested[:, :half] = False
  before, after = (x[..., bytes_of].astype(np.float64) for x in (recording.before, recording.after))
  pairs = {
    "now": (recording.hidden, before),
    "predicted": (recording.predicted, after),
    "without_action": (recording.hidden, after),
  }
  return {name: _regress(x, y, fitted, tested) for name, (x, y) in pairs.items()}


def _regress(x: np.ndarray, y: np.ndarray, fitted: np.ndarray, tested: np.ndarray) -> np.ndarray:
  """The fraction of variance explained by a ridge regression from x [T, B, D] to y [T, B, K].

  Args:
    x: features.
    y: targets.
    fitted: bool[T, B], the steps that the regression is fitted on.
    tested: bool[T, B], the steps that the result is for.

  Returns:
    f64[K]; NaN where y is constant.
  """
  features, values = x[fitted].astype(np.float64), y[fitted]
  center, middle = features.mean(0), values.mean(0)
  features = features - center
  weights = np.linalg.solve(
    features.T @ features + RIDGE * np.eye(features.shape[1]), features.T @ (values - middle)
  )
  error = y[tested] - ((x[tested] - center) @ weights + middle)
  with np.errstate(divide="ignore", invalid="ignore"):
    share = 1 - np.mean(error**2, 0) / y[tested].var(0)
  return np.where(y[tested].var(0) > 0, share, np.nan)


def changing(recording: Recording, count: int) -> list[int]:
  """The RAM bytes that take the most different values, for games that are not in `NAMES`.

  Args:
    recording: of the game.
    count: how many bytes at most; those with fewer than three values are left out.
  """
  kinds = [len(np.unique(recording.after[..., byte])) for byte in range(recording.after.shape[-1])]
  order = sorted(range(len(kinds)), key=lambda byte: -kinds[byte])
  return sorted(byte for byte in order[:count] if kinds[byte] > 2)


def table(found: dict[str, np.ndarray], labels: list[str]) -> str:
  """Formats the result of `explained` as a Markdown table."""
  lines = [
    "| RAM | now | next, from the predicted hidden state | next, without the action |",
    "|---|---|---|---|",
  ]
  for i, label in enumerate(labels):
    lines.append(
      f"| {label} | "
      + " | ".join(f"{found[name][i]:.3f}" for name in ("now", "predicted", "without_action"))
      + " |"
    )
  return "\n".join(lines)
