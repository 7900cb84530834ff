"""Reward and value targets of one example's unroll, and the masks behind an episode's end."""

import jax.numpy as jnp

from muzero_jax.targets.returns import Returns, horizon, n_step_returns
from muzero_jax.types import Array, Example


def masks(discount: Array, last: Array) -> tuple[Array, Array]:
  """Which steps of an unroll are real, and which have targets.

  Args:
    discount: f32[k], into steps t+1 .. t+k.
    last: bool[k+1], of steps t .. t+k.

  Returns:
    policy_mask: f32[k+1], 1 where step t+i is a state to act in: nothing ended the return, or cut
      the episode off, on the way.
    target_mask: f32[k+1], 1 where a target exists: everywhere but behind a truncation. After the
      return's end states are absorbing: they have targets, and no policy.
  """
  reached = jnp.concatenate([jnp.ones(1), jnp.cumprod((discount > 0).astype(jnp.float32))])
  truncated = last * reached
  behind = jnp.concatenate([jnp.zeros(1), jnp.cumsum(truncated)[:-1]]) > 0
  return reached * ~behind, 1.0 - behind


def reward_and_value(
  example: Example, value: Array, *, unroll: int, returns: Returns
) -> tuple[Array, Array, Array, Array]:
  """For one example.

  Args:
    example: unbatched.
    value: f32[L], what to bootstrap from at steps t .. t+L-1.
    unroll: k.
    returns: settings, the same for every step of the unroll.

  Returns:
    reward f32[k], value f32[k+1], policy_mask f32[k+1], target_mask f32[k+1]. A terminal
    transition's reward is learned; after it both targets are 0. The value of a step that the time
    limit made the last is its own bootstrap value.
  """
  reward = jnp.sign(example.reward) if returns.clip_rewards else example.reward
  policy_mask, target_mask = masks(example.discount[:unroll], example.last[: unroll + 1])
  bootstrapped = n_step_returns(
    reward,
    returns.discount * example.discount,
    value[1:],
    example.last[1:],
    n=returns.n_step,
    count=unroll + 1,
    td_lambda=returns.td_lambda,
    steps=horizon(example.age, returns.n_step, returns.stale_after),
  )
  values = jnp.where(example.last[: unroll + 1], value[: unroll + 1], bootstrapped)
  return reward[:unroll] * policy_mask[:-1], values * policy_mask, policy_mask, target_mask
