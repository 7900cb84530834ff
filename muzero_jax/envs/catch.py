"""Catch, a tiny pure-JAX environment that tests and the `catch` preset use.

A ball falls, and the agent moves a paddle at the bottom to catch it. An episode has rows-1
transitions; its return is +1 or -1.
"""

import jax
import jax.numpy as jnp

from muzero_jax.envs.pure import Game
from muzero_jax.types import Array, Key, record


@record
class CatchState:
  """The state of one environment; all fields are i32[]."""

  ball_row: Array
  ball_column: Array
  paddle: Array


def catch(rows: int = 10, columns: int = 5) -> Game:
  """The rules of Catch. Frames are u8[rows, columns] of 0 and 255; actions are left, stay, right.

  As in bsuite (Osband et al. 2020): the ball starts in a random column of the top row, the paddle
  in the middle of the bottom row, and the episode terminates when the ball reaches the bottom row.
  """

  def draw(state: CatchState) -> Array:
    board = jnp.zeros((rows, columns), jnp.uint8)
    return board.at[state.ball_row, state.ball_column].set(255).at[rows - 1, state.paddle].set(255)

  def reset(key: Key) -> tuple[CatchState, Array]:
    column = jax.random.randint(key, (), 0, columns, jnp.int32)
    state = CatchState(jnp.int32(0), column, jnp.int32(columns // 2))
    return state, draw(state)

  def step(key: Key, state: CatchState, action: Array):
    del key
    paddle = jnp.clip(state.paddle + action - 1, 0, columns - 1).astype(jnp.int32)
    state = CatchState(state.ball_row + 1, state.ball_column, paddle)
    last = state.ball_row == rows - 1
    reward = jnp.where(last, jnp.where(state.ball_column == paddle, 1.0, -1.0), 0.0)
    return state, draw(state), reward, 1.0 - last, last

  return Game(reset, step, num_actions=3, frame_shape=(rows, columns))
