"""What actions do to the value, and what the search adds to the network's policy.

Both are measured on recorded play (`probe.Trajectories`): whether the model predicts how actions
change the value, and how much reward different ways to act collect.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import random

from muzero_jax.evaluation.probe import Act, Trajectories
from muzero_jax.search.base import Search
from muzero_jax.search.none import look_ahead
from muzero_jax.targets.returns import Returns, clipped
from muzero_jax.types import Array, Key, Model, Params, Root

TRAINING = "search, as in training"  # one of the ways to act
SEQUENCES = 12  # random action sequences that an effect on the value is compared with


def actors(model: Model, search: Search, discount: float) -> dict[str, Act]:
  """Ways to act, from the network's policy alone to Q alone, to see what the search adds to it.

  Args:
    model: the agent's network.
    search: the agent's search.
    discount: per agent step.
  """

  def best_q(params: Params, key: Key, root: Root) -> Array:
    del key
    return jnp.argmax(look_ahead(model, discount, params, root), -1)

  def searched(search: Search) -> Act:
    return lambda params, key, root: search(params, key, root).action

  return {
    "network's policy, sampled": lambda _, key, root: random.categorical(key, root.policy_logits),
    "network's policy, best action": lambda _, key, root: jnp.argmax(root.policy_logits, -1),
    TRAINING: searched(search),
    "search, as in evaluation": searched(search.for_evaluation()),
    "best Q of one step of the model": best_q,
  }


def reward_rate(played: Trajectories) -> tuple[float, float]:
  """Raw reward per 1,000 agent steps and environment, and its standard error over environments."""
  rates = 1000 * played.reward.mean(0)
  return float(rates.mean()), float(rates.std(ddof=1) / np.sqrt(len(rates)))


def rates_table(rates: dict[str, tuple[float, float]]) -> str:
  """Formats reward rates, by way to act, as a Markdown table."""
  lines = ["| actions from | reward per 1,000 steps |", "|---|---|"]
  lines += [f"| {name} | {rate:.2f} ± {error:.2f} |" for name, (rate, error) in rates.items()]
  return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class Effect:
  """How well the model predicts what j actions do to the value."""

  predicted: float  # root mean square of the effect that the model predicts, in units of return
  # of a regression of the real effect on the predicted one: 1 if predictions are right, 0 if they
  # are noise
  slope: float
  error: float  # standard error of the slope


def value_effect(
  model: Model, params: Params, played: Trajectories, key: Key, returns: Returns, ahead: int
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
    played: T steps of B environments.
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
  steps, size = played.action.shape
  num_actions = played.action.max() + 1
  drawn = random.randint(key, (SEQUENCES, ahead, size), 0, num_actions, jnp.int32)
  reward = clipped(played.reward, returns.clip_rewards)
  sums = np.zeros((3, size))  # of x * x, x * y and 1, per environment
  for t in range(steps - ahead):
    base = np.asarray(expected(played.hidden[t], drawn))
    x = np.asarray(worth(played.hidden[t], played.action[t : t + ahead])) - base
    y, weight = -base, np.ones(size)
    for j in range(t, t + ahead):
      y = y + weight * reward[j]
      weight = weight * returns.discount * played.discount[j]
    y = y + weight * np.asarray(value(played.hidden[t + ahead]))
    same = played.episode[t] == played.episode[t + ahead]
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


def table(effects: dict[int, Effect]) -> str:
  """Formats effects, by the number of actions, as a Markdown table."""
  lines = ["| actions | predicted effect on the value | slope of the real one |", "|---|---|---|"]
  lines += [
    f"| {ahead} | {effect.predicted:.3f} | {effect.slope:.2f} ± {effect.error:.2f} |"
    for ahead, effect in effects.items()
  ]
  return "\n".join(lines)
