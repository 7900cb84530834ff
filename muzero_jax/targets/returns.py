"""Returns: n-step and TD(lambda) returns, both computed by one recursion, `lambda_returns`."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.types import Array


def clipped(reward: Any, clip: bool) -> Any:
  """Rewards, of NumPy or JAX, as the agent trains on them: their signs if `clip`."""
  sign = np.sign if isinstance(reward, np.ndarray) else jnp.sign
  return sign(reward) if clip else reward


@dataclasses.dataclass(frozen=True)
class Returns:
  """The settings of the returns that are the value targets."""

  n_step: int = 5  # steps until a return bootstraps
  discount: float | Array = 0.997  # per agent step
  td_lambda: float = 1.0  # 1: n-step returns
  clip_rewards: bool = True  # to their signs
  stale_after: int = 0  # see `horizon`
  bootstrap_after: Array | None = None  # i32[], at most n_step: takes its place; None: n_step

  def horizon(self, age: Array) -> Array:
    """Steps until the returns of examples of this age, i32[...], bootstrap, i32[...]."""
    n = self.n_step if self.bootstrap_after is None else self.bootstrap_after
    return horizon(age, n, self.stale_after)


def lambda_returns(reward: Array, discount: Array, value: Array, mixing: Array) -> Array:
  """G_t = r_{t+1} + d_{t+1} ((1 - m_{t+1}) v_{t+1} + m_{t+1} G_{t+1}), for one sequence.

  n-step returns, TD(lambda) returns (Sutton and Barto 2018, eq. 12.18) and their off-policy
  variants differ in the mixing vector m only. The last step always bootstraps.

  Args:
    reward: f32[T], r_1 .. r_T.
    discount: f32[T], d_1 .. d_T, the agent's discount included.
    value: f32[T], v_1 .. v_T.
    mixing: f32[T], m_1 .. m_T: 0 bootstraps, 1 does not; m_T is treated as 0.

  Returns:
    f32[T], G_0 .. G_{T-1}.
  """

  def backward(later: Array, step: tuple) -> tuple[Array, Array]:
    r, d, v, m = step
    now = r + d * ((1 - m) * v + m * later)
    return now, now

  _, returns = jax.lax.scan(backward, value[-1], (reward, discount, value, mixing), reverse=True)
  return returns


def horizon(age: Array, n: int | Array, stale_after: int) -> Array:
  """Steps until a return bootstraps: fewer for old examples, which are more off-policy
  (EfficientZero, Ye et al. 2021, section 4.3).

  Args:
    age: i32[...], gradient steps since the example was recorded.
    n: steps until the bootstrap for a new example.
    stale_after: n is reduced by 1, at least to 1, per this many gradient steps of age; 0: never.

  Returns:
    i32[...].
  """
  return jnp.clip(n - age // stale_after, 1, n) if stale_after else jnp.full_like(age, n)


def n_step_returns(
  reward: Array,
  discount: Array,
  value: Array,
  last: Array,
  *,
  n: int,
  count: int,
  td_lambda: Array | float = 1.0,
  steps: Array | None = None,
) -> Array:
  """The returns of the first `count` steps of one sequence, each from the n steps after it.

  Args:
    reward: f32[T], r_1 .. r_T with T >= count - 1 + n.
    discount: f32[T], the agent's discount included.
    value: f32[T], v_1 .. v_T.
    last: bool[T], whether steps 1 .. T end an episode. Returns bootstrap from the value of such a
      step, which the discount into it multiplies: by 0 if the episode terminated.
    n: steps until the bootstrap.
    count: number of returns.
    td_lambda: lambda of TD(lambda), or f32[T], one for each of steps 1 .. T; 1: n-step returns.
    steps: i32[] in 1 .. n, bootstraps after this many steps; None: after n.

  Returns:
    f32[count], G_0 .. G_{count-1}.

  Raises:
    ValueError: the sequence is too short.
  """
  if reward.shape[0] < count - 1 + n:  # dynamic_slice would silently clamp its start
    raise ValueError(
      f"{count} returns over {n} steps need {count - 1 + n} transitions, not {reward.shape[0]}"
    )
  mixing = jnp.where(last, 0.0, td_lambda)

  def one(start: Array) -> Array:
    window = [jax.lax.dynamic_slice_in_dim(x, start, n) for x in (reward, discount, value, mixing)]
    window[-1] = (
      window[-1] if steps is None else jnp.where(jnp.arange(1, n + 1) < steps, window[-1], 0.0)
    )
    return lambda_returns(*window)[0]

  return jax.vmap(one)(jnp.arange(count))
