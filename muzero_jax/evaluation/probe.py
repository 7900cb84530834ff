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

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.envs.envpool import Observed
from muzero_jax.evaluation.evaluator import push
from muzero_jax.networks.model import initial_inference
from muzero_jax.search.base import Search
from muzero_jax.targets.returns import Returns
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
AHEAD = (1, 3, 5)  # agent steps that the dynamics network is unrolled
SEQUENCES = 12  # random action sequences that an effect on the value is compared with
RIDGE = 0.1  # regularization of the regressions; features are within 0..1


@dataclasses.dataclass(frozen=True)
class Recording:
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
  def look(frames: Array, time: TimeStep, key: Key) -> tuple[Array, Array, Array]:
    frames = push(frames, time)
    search_key, action_key, random_key = jax.random.split(key, 3)
    origin = initial_inference(model, params, frames)
    chosen = search(params, search_key, origin).action
    drawn = jax.random.randint(action_key, chosen.shape, 0, games.num_actions, jnp.int32)
    action = jnp.where(jax.random.uniform(random_key, chosen.shape) < random, drawn, chosen)
    return frames, action, origin.hidden

  time, ram = games.reset()
  frames = jnp.zeros((time.frame.shape[0], stack, *time.frame.shape[1:]), time.frame.dtype)
  rows = []
  for step_key in jax.random.split(key, steps):
    frames, action, hidden = look(frames, time, step_key)
    row = (hidden, action, ram, time.first)
    time, ram = games.step(np.asarray(action))
    rows.append([np.asarray(x) for x in (*row, time.reward, time.discount)])
  hidden, action, ram, first, reward, discount = (np.stack(x) for x in zip(*rows, strict=True))
  return Recording(hidden, action, ram, np.cumsum(first, 0, np.int32), reward, discount)


def predict(model: Model, params: Params, recording: Recording, ahead: int) -> np.ndarray:
  """The hidden states that the dynamics network predicts for steps `ahead` .. T-1.

  Args:
    model: the agent's network.
    params: its parameters.
    recording: hidden states and actions of T steps.
    ahead: steps that the dynamics network is unrolled.

  Returns:
    f32[T - ahead, B, ...], predicted from the steps 0 .. T-ahead-1.
  """

  @jax.jit
  def unroll(hidden: Array, actions: Array) -> Array:
    for j in range(ahead):
      hidden, _ = model.step(params, hidden, actions[j])
    return hidden

  starts = range(recording.action.shape[0] - ahead)
  return np.stack(
    [np.asarray(unroll(recording.hidden[t], recording.action[t : t + ahead])) for t in starts]
  )


def explained(
  recording: Recording, predicted: dict[int, np.ndarray], bytes_of: list[int], needed: list[int]
) -> dict[str, np.ndarray]:
  """The fraction of the variance of RAM bytes that the regressions explain.

  They are fitted on the first half of the environments and tested on the second half.

  Args:
    recording: of at least two environments.
    predicted: j -> hidden states predicted j steps ahead, see `predict`.
    bytes_of: the RAM bytes to predict.
    needed: steps at which one of these bytes is 0 are left out.

  Returns:
    "now" and, for each j, "predicted_j" and "without_actions_j", f64[len(bytes_of)] each; NaN where
    a byte does not change.
  """
  steps = recording.ram.shape[0]
  known = np.all(recording.ram[..., needed] > 0, -1)
  ram = recording.ram[..., bytes_of].astype(np.float64)
  found = {"now": _regress(recording.hidden, ram, known)}
  for ahead, hidden in predicted.items():
    start, end = slice(0, steps - ahead), slice(ahead, steps)
    same = recording.episode[start] == recording.episode[end]
    valid = known[start] & known[end] & same
    found[f"predicted_{ahead}"] = _regress(hidden, ram[end], valid)
    found[f"without_actions_{ahead}"] = _regress(recording.hidden[start], ram[end], valid)
  return found


def _regress(x: np.ndarray, y: np.ndarray, valid: np.ndarray) -> np.ndarray:
  """The fraction of variance that a ridge regression explains in the second half of environments.

  Args:
    x: features, [T, B, ...].
    y: targets, f64[T, B, K].
    valid: bool[T, B], the steps that are used.

  Returns:
    f64[K]; NaN where y is constant.
  """
  x, half = x.reshape(*x.shape[:2], -1), x.shape[1] // 2
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


@dataclasses.dataclass(frozen=True)
class Effect:
  """How well the model predicts what j actions do to the value."""

  predicted: float  # root mean square of the effect that the model predicts, in units of return
  # of a regression of the real effect on the predicted one: 1 if predictions are right, 0 if they
  # are noise
  slope: float
  error: float  # standard error of the slope


def value_effect(
  model: Model, params: Params, recording: Recording, key: Key, returns: Returns, ahead: int
) -> Effect:
  """Compares predicted with real effects of the actions taken on the value.

  An action sequence is worth its discounted rewards, and the discounted value of the state after
  it. Its effect is the difference to what, according to the model, random actions are worth. Both
  are known at every step: predicted by the dynamics network, and real, from the rewards received
  and the value of the hidden state encoded from the frames reached. This says whether search could
  use Q, provided that the value itself is right.

  Args:
    model: the agent's network.
    params: its parameters.
    recording: T steps of B environments.
    key: for `SEQUENCES` random action sequences per step.
    returns: how rewards are clipped and discounted.
    ahead: j, actions in a sequence.
  """

  @jax.jit
  def worth(hidden: Array, actions: Array) -> Array:
    total, weight = jnp.zeros(hidden.shape[0]), 1.0
    for j in range(ahead):
      hidden, reward_logits = model.step(params, hidden, actions[j])
      total, weight = total + weight * model.decode(reward_logits), weight * returns.discount
    return total + weight * model.decode(model.predict(params, hidden)[1])

  @jax.jit
  def expected(hidden: Array, actions: Array) -> Array:
    return jnp.mean(jax.vmap(lambda a: worth(hidden, a))(actions), 0)

  value = jax.jit(lambda hidden: model.decode(model.predict(params, hidden)[1]))
  steps, size = recording.action.shape
  num_actions = recording.action.max() + 1
  drawn = jax.random.randint(key, (SEQUENCES, ahead, size), 0, num_actions, jnp.int32)
  reward = np.sign(recording.reward) if returns.clip_rewards else recording.reward
  sums = np.zeros((3, size))  # of x * x, x * y and 1, per environment
  for t in range(steps - ahead):
    base = np.asarray(expected(recording.hidden[t], drawn))
    x = np.asarray(worth(recording.hidden[t], recording.action[t : t + ahead])) - base
    y, weight = -base, np.ones(size)
    for j in range(t, t + ahead):
      y = y + weight * reward[j]
      weight = weight * returns.discount * recording.discount[j]
    y = y + weight * np.asarray(value(recording.hidden[t + ahead]))
    same = recording.episode[t] == recording.episode[t + ahead]
    sums += same * np.stack([x * x, x * y, np.ones(size)])
  slope, error = jackknife(sums[1], sums[0])
  return Effect(float(np.sqrt(sums[0].sum() / max(sums[2].sum(), 1))), slope, error)


def jackknife(products: np.ndarray, squares: np.ndarray) -> tuple[float, float]:
  """The slope sum(products) / sum(squares), and its standard error.

  Args:
    products: f64[B], sums over independent groups, here environments.
    squares: f64[B].
  """
  size = len(products)
  without = (products.sum() - products) / np.maximum(squares.sum() - squares, 1e-12)
  slope = products.sum() / max(squares.sum(), 1e-12)
  return float(slope), float(np.sqrt((size - 1) / size * np.sum((without - without.mean()) ** 2)))


def effects_table(effects: dict[int, Effect]) -> str:
  """Formats effects, by the number of actions, as a Markdown table."""
  lines = ["| actions | predicted effect on the value | slope of the real one |", "|---|---|---|"]
  lines += [
    f"| {ahead} | {effect.predicted:.3f} | {effect.slope:.2f} ± {effect.error:.2f} |"
    for ahead, effect in effects.items()
  ]
  return "\n".join(lines)


def changing(recording: Recording, count: int) -> list[int]:
  """The RAM bytes that take the most different values, for games that are not in `NAMES`.

  Args:
    recording: of the game.
    count: how many bytes at most; those with fewer than three values are left out.
  """
  kinds = [len(np.unique(recording.ram[..., byte])) for byte in range(recording.ram.shape[-1])]
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
