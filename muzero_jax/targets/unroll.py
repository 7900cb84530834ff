"""Reward and value targets of one example's unroll, and what is alive in it (traps of the episode's end are all here)."""

import jax.numpy as jnp

from muzero_jax.targets.returns import horizon, n_step_returns
from muzero_jax.types import Array, Example


def masks(discount: Array, last: Array) -> tuple[Array, Array]:
  """Which steps of an unroll are real, and which have targets.

  Args:
    discount: f32[k], into steps t+1 .. t+k.
    last: bool[k+1], of steps t .. t+k.

  Returns:
    alive: f32[k+1], 1 where step t+i is a state to act in: nothing ended the return, or cut the episode off, on the way.
    known: f32[k+1], 1 where a target exists: everywhere but behind a truncation. After the return's end states are absorbing:
      known, not alive.
  """
  reached = jnp.concatenate([jnp.ones(1), jnp.cumprod((discount > 0).astype(jnp.float32))])
  truncated = last * reached
  behind = jnp.concatenate([jnp.zeros(1), jnp.cumsum(truncated)[:-1]]) > 0
  return reached * ~behind, 1.0 - behind


def reward_and_value(
  example: Example, value: Array, *, unroll: int, n: int, gamma: float, trace: float, clip: bool, stale_after: int = 0
) -> tuple[Array, Array, Array, Array]:
  """For one example.

  Args:
    example: unbatched.
    value: f32[L], what to bootstrap from at steps t .. t+L-1.
    unroll: k.
    n: bootstrap steps, the same for every step of the unroll.
    gamma: discount per agent step.
    trace: lambda; 1 gives n-step returns.
    clip: whether to learn from the rewards' signs.
    stale_after: gradient steps of age that make the returns one step shorter (`returns.horizon`).

  Returns:
    reward f32[k], value f32[k+1], alive f32[k+1], known f32[k+1]. A terminal transition's reward is learned; after it both targets are
    0. The value of a step that the time limit made the last is its own bootstrap value.
  """
  reward = jnp.sign(example.reward) if clip else example.reward
  alive, known = masks(example.discount[:unroll], example.last[: unroll + 1])
  steps = horizon(example.age, n, stale_after)
  discount = gamma * example.discount
  returns = n_step_returns(reward, discount, value[1:], example.last[1:], n=n, count=unroll + 1, trace=trace, steps=steps)
  values = jnp.where(example.last[: unroll + 1], value[: unroll + 1], returns)
  return reward[:unroll] * alive[:-1], values * alive, alive, known
