"""Probes hidden states for information about the game: linear regressions to the emulator's RAM.

For every RAM byte these regressions are fitted. `now`: from the hidden state of step t to the byte
at t. `predicted`: from the hidden state that the dynamics network predicts for t+j, from that of
step t and the j actions taken, to the byte at t+j. `without_actions`: from the hidden state of step
t to the byte at t+j, thus without knowledge of the actions. Where the last two explain equally
much, the dynamics network has not encoded the effect of the actions.

One action often changes little. In Pong, where the paddle has inertia, regressions from the
paddle's last four positions explain 0.98 of its next position, and 0.99 with the action; five steps
ahead it is 0.75 and 0.94. So several steps are needed to see a difference.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import random

from muzero_jax.envs.envpool import Observed
from muzero_jax.evaluation.evaluator import push
from muzero_jax.networks.model import initial_inference
from muzero_jax.types import Array, Key, Model, Params, Root, TimeStep

# RAM bytes with known meanings (Anand et al. 2019, "AtariARI"). Steps at which one of these bytes
# is 0 are left out, since then, for example, no ball is in play.
NAMES = {
  "Pong-v5": {51: "own paddle", 50: "other paddle", 49: "ball x", 54: "ball y"},
  "Breakout-v5": {72: "paddle", 99: "ball x", 101: "ball y"},
  "Boxing-v5": {32: "own x", 34: "own y", 33: "other x", 35: "other y"},
  "Freeway-v5": {14: "chicken y"},
  "MsPacman-v5": {10: "own x", 16: "own y"},
}
AHEAD = (1, 3, 5)  # agent steps that the dynamics network is unrolled
RIDGE = 0.1  # regularization of the regressions; features are within 0..1


Act = Callable[[Params, Key, Root], Array]  # -> actions, i32[B]


@dataclasses.dataclass(frozen=True)
class Trajectories:
  """T consecutive steps of B environments."""

  hidden: np.ndarray  # [T, B, ...]   hidden states, encoded from the frames
  action: np.ndarray  # i32[T, B]   the action taken at the step
  ram: np.ndarray  # u8[T, B, 128]
  episode: np.ndarray  # i32[T, B]   number of the step's episode
  reward: np.ndarray  # f32[T, B]   raw, of the transition from the step to the next one
  discount: np.ndarray  # f32[T, B]   of the same transition: 0 where the return ends, else 1


def record(
  model: Model,
  params: Params,
  act: Act,
  environments: Observed,
  key: Key,
  *,
  stack: int,
  steps: int,
  randomness: float = 0.5,
) -> Trajectories:
  """Plays, and records hidden states and RAM.

  Args:
    model: the agent's network.
    params: of the model and of `act`.
    act: chooses the actions that are not random.
    environments: B of them, which this function resets and steps.
    key: for `act` and for random actions.
    stack: S, frames that the network sees.
    steps: T, agent steps in each environment.
    randomness: fraction of actions that are uniformly random. Without these, the action could be
      inferred from the state, and the regression `without_action` would know it.
  """

  @jax.jit
  def look(frames: Array, timestep: TimeStep, key: Key) -> tuple[Array, Array, Array]:
    frames = push(frames, timestep)
    search_key, action_key, random_key = random.split(key, 3)
    origin = initial_inference(model, params, frames)
    chosen = act(params, search_key, origin)
    drawn = random.randint(action_key, chosen.shape, 0, environments.num_actions, jnp.int32)
    action = jnp.where(random.uniform(random_key, chosen.shape) < randomness, drawn, chosen)
    return frames, action, origin.hidden

  timestep, ram = environments.reset()
  num_envs, *shape = timestep.frame.shape
  frames = jnp.zeros((num_envs, stack, *shape), timestep.frame.dtype)
  rows = []
  for step_key in random.split(key, steps):
    frames, action, hidden = look(frames, timestep, step_key)
    row = (hidden, action, ram, timestep.first)
    timestep, ram = environments.step(np.asarray(action))
    rows.append([np.asarray(x) for x in (*row, timestep.reward, timestep.discount)])
  hidden, action, ram, first, reward, discount = (np.stack(x) for x in zip(*rows, strict=True))
  return Trajectories(hidden, action, ram, np.cumsum(first, 0, np.int32), reward, discount)


def predict(model: Model, params: Params, played: Trajectories, ahead: int) -> np.ndarray:
  """The hidden states that the dynamics network predicts for steps `ahead` .. T-1.

  Args:
    model: the agent's network.
    params: its parameters.
    played: hidden states and actions of T steps.
    ahead: steps that the dynamics network is unrolled.

  Returns:
    f32[T - ahead, B, ...], predicted from the steps 0 .. T-ahead-1.
  """

  @jax.jit
  def unroll(hidden: Array, actions: Array) -> Array:
    for j in range(ahead):
      hidden, _ = model.step(params, hidden, actions[j])
    return hidden

  starts = range(played.action.shape[0] - ahead)
  return np.stack(
    [np.asarray(unroll(played.hidden[t], played.action[t : t + ahead])) for t in starts]
  )


def explained(
  played: Trajectories, predicted: dict[int, np.ndarray], bytes_of: list[int], needed: list[int]
) -> dict[str, np.ndarray]:
  """The fraction of the variance of RAM bytes that the regressions explain.

  They are fitted on the first half of the environments and tested on the second half.

  Args:
    played: of at least two environments.
    predicted: j -> hidden states predicted j steps ahead, see `predict`.
    bytes_of: the RAM bytes to predict.
    needed: steps at which one of these bytes is 0 are left out.

  Returns:
    "now" and, for each j, "predicted_j" and "without_actions_j", f64[len(bytes_of)] each; NaN where
    a byte does not change.
  """
  steps = played.ram.shape[0]
  known = np.all(played.ram[..., needed] > 0, -1)
  ram = played.ram[..., bytes_of].astype(np.float64)
  found = {"now": _regress(played.hidden, ram, known)}
  for ahead, hidden in predicted.items():
    start, end = slice(0, steps - ahead), slice(ahead, steps)
    same = played.episode[start] == played.episode[end]
    valid = known[start] & known[end] & same
    found[f"predicted_{ahead}"] = _regress(hidden, ram[end], valid)
    found[f"without_actions_{ahead}"] = _regress(played.hidden[start], ram[end], valid)
  return found


def _regress(x: np.ndarray, y: np.ndarray, valid: np.ndarray) -> np.ndarray:
  """The fraction of variance that a ridge regression explains in the second half of environments.

  Args:
    x: features, [T, B, ...].
    y: targets, f64[T, B, K].
    valid: bool[T, B], the steps that are used.

  Returns:
    f64[K]; NaN where y is constant, or where no steps are valid.
  """
  x, half = x.reshape(*x.shape[:2], -1), x.shape[1] // 2
  if not (valid[:, :half].any() and valid[:, half:].any()):
    return np.full(y.shape[-1], np.nan)
  features, values = (z[:, :half][valid[:, :half]].astype(np.float64) for z in (x, y))
  tested, truth = (z[:, half:][valid[:, half:]] for z in (x, y))
  center, middle = features.mean(0), values.mean(0)
  features = features - center
  weights = np.linalg.solve(
    features.T @ features + RIDGE * np.eye(features.shape[1]), features.T @ (values - middle)
  )
  error = truth - ((tested - center) @ weights + middle)
  with np.errstate(divide="ignore", invalid="ignore"):
    share = 1 - np.mean(error**2, 0) / truth.var(0)
  return np.where(truth.var(0) > 0, share, np.nan)


def changing(played: Trajectories, count: int) -> list[int]:
  """The RAM bytes that take the most different values, for games that are not in `NAMES`.

  Args:
    played: of the game.
    count: how many bytes at most; those with fewer than three values are left out.
  """
  kinds = [len(np.unique(played.ram[..., byte])) for byte in range(played.ram.shape[-1])]
  order = sorted(range(len(kinds)), key=lambda byte: -kinds[byte])
  return sorted(byte for byte in order[:count] if kinds[byte] > 2)


def table(found: dict[str, np.ndarray], labels: list[str]) -> str:
  """Formats the result of `explained` as a Markdown table: one row per byte and number of steps."""
  ahead = [int(name.rpartition("_")[2]) for name in found if name.startswith("predicted")]
  lines = [
    "| RAM | now | steps ahead | from the predicted hidden state | without the actions |",
    "|---|---|---|---|---|",
  ]
  for i, label in enumerate(labels):
    for j in ahead:
      shares = (f"{found[f'{name}_{j}'][i]:.3f}" for name in ("predicted", "without_actions"))
      lines.append(f"| {label} | {found['now'][i]:.3f} | {j} | {' | '.join(shares)} |")
  return "\n".join(lines)
