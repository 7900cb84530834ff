"""Reward and value targets of one example's unroll, and masks for steps after an episode's end."""

import jax.numpy as jnp

from muzero_jax.targets.correction import ImportanceRatios, uncorrected
from muzero_jax.targets.returns import Returns, clipped, n_step_returns
from muzero_jax.types import Array, Example


def masks(discount: Array, last: Array) -> tuple[Array, Array]:
  """Computes which steps of an unroll have policy targets, and which have any targets.

  Args:
    discount: f32[k], of the transitions into steps t+1 .. t+k.
    last: bool[k+1], whether steps t .. t+k end an episode.

  Returns:
    policy_mask: f32[k+1], 1 where step t+i is a state to act in: the return has not ended at or
      before it, and the episode was not truncated before it.
    target_mask: f32[k+1], 1 where targets exist: everywhere except after a truncation. States after
      the end of the return are absorbing: they have reward and value targets, but no policy.
  """
  reached = jnp.concatenate([jnp.ones(1), jnp.cumprod((discount > 0).astype(jnp.float32))])
  truncated = last * reached
  behind = jnp.concatenate([jnp.zeros(1), jnp.cumsum(truncated)[:-1]]) > 0
  return reached * ~behind, 1.0 - behind


def reward_and_value(
  example: Example,
  value: Array,
  ratios: ImportanceRatios | None = None,
  *,
  unroll: int,
  returns: Returns,
) -> tuple[Array, Array, Array, Array]:
  """Computes reward and value targets and the masks for one example.

  Args:
    example: unbatched.
    value: f32[L], bootstrap values of steps t .. t+L-1.
    ratios: [L], truncated importance ratios; None: uncorrected.
    unroll: k.
    returns: the settings of the returns.

  Returns:
    reward f32[k], value f32[k+1], policy_mask f32[k+1], target_mask f32[k+1]. The reward of the
    terminal transition is a target; after it rewards and values are 0. The value target of a
    truncated step is its bootstrap value.
  """
  reward = clipped(example.reward, returns.clip_rewards)
  ratios = ratios or uncorrected({}, example)
  policy_mask, target_mask = masks(example.discount[:unroll], example.last[: unroll + 1])
  bootstrapped = n_step_returns(
    reward,
    returns.discount * example.discount,
    value[1:],
    example.last[1:],
    n=returns.n_step,
    count=unroll + 1,
    td_lambda=returns.td_lambda * ratios.mixing[1:],
    steps=returns.horizon(example.age),
  )
  own, start = value[: unroll + 1], ratios.start[: unroll + 1]
  values = jnp.where(example.last[: unroll + 1], own, (1 - start) * own + start * bootstrapped)
  return reward[:unroll] * policy_mask[:-1], values * policy_mask, policy_mask, target_mask
