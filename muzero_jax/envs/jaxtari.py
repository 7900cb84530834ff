"""Adapter for JAXtari, Atari games rewritten in JAX: they need no emulator and no host, so that a
TPU steps them, too. They resemble ALE's games; their scores are not ALE's.
"""

import os
from typing import Any

import jax
import jax.numpy as jnp

from muzero_jax import optional
from muzero_jax.envs.base import GameError, no_such_game
from muzero_jax.envs.envpool import Atari
from muzero_jax.envs.pure import Game
from muzero_jax.types import Array


def make(task: str, atari: Atari) -> Game:
  """Makes the game that JAXtari calls `task`, for example "pong".

  Args:
    task: one of `jaxtari.list_available_games()`.
    atari: frame size, color, frame skip and so on, as for EnvPool's games.

  Raises:
    GameError: JAXtari or its sprites are not installed, or it has no such game.
  """
  check_task(task)
  from jaxtari import core, wrappers

  try:
    game = core.make(task)
  except (ImportError, OSError) as error:  # it may need a library, or a sprite that is missing
    raise GameError(f"--env.task={task}: JAXtari cannot load it ({error}).") from error
  env = wrappers.AtariWrapper(
    game,
    sticky_actions=atari.sticky,
    episodic_life=False,
    first_fire=atari.fire_reset,
    noop_max=atari.noop_max,
    full_action_space=atari.full_action_set,
    max_frames_per_episode=atari.max_episode_steps * atari.frame_skip,
  )
  return adapt(env, atari)


def check_task(task: str) -> None:
  """Checks that JAXtari has the game and its sprites.

  Raises:
    GameError: it has not, or is not installed.
  """
  # It would ask whether to download newer sprites, and wait for an answer.
  os.environ.setdefault("JAXTARI_SKIP_SPRITE_UPDATE", "1")
  with optional.needed("--env.kind=jaxtari needs JAXtari", "jaxtari", GameError):
    from jaxtari import check_ownership, core
  if task not in (games := core.list_available_games()):
    raise no_such_game(task, "JAXtari", games)
  try:
    check_ownership()
  except RuntimeError as error:
    raise GameError(
      "--env.kind=jaxtari: JAXtari's sprites are not installed: python -m jaxtari.install_sprites."
    ) from error


def adapt(env: Any, atari: Atari) -> Game:
  """Makes a `Game` of agent steps from JAXtari's `AtariWrapper`, which steps single frames.

  A step repeats its action for `frame_skip` frames, or until the episode ends; its reward is their
  sum, and its image the brighter of the last two in each pixel, scaled to the frame's size.
  """
  shape = (atari.frame_height, atari.frame_width, *((3,) if atari.color else ()))

  def frame(image: Array) -> Array:
    image = image.astype(jnp.float32)
    image = image if atari.color else image @ jnp.array([0.299, 0.587, 0.114])
    return jnp.round(jax.image.resize(image, shape, "linear")).astype(jnp.uint8)

  def start(key):
    return env.reset(jax.random.key_data(key))[1]

  def one(state, action):
    _, new, reward, terminated, truncated, _ = env.step(state, action)
    return new, jnp.float32(reward), terminated, truncated

  # The dtypes after a step: those after a reset can be others, and a scan needs fixed ones.
  types = jax.eval_shape(lambda key: one(start(key), jnp.int32(0))[0], jax.random.key(0))

  def stable(state):
    return jax.tree.map(lambda leaf, kind: jnp.asarray(leaf, kind.dtype), state, types)

  def reset(key):
    state = stable(start(key))
    return state, frame(env.render(state.env_state))

  def step(key, state, action):
    del key  # the state has its own

    def repeat(carry, _):
      _, state, total, terminated, truncated = carry
      new, reward, *ends = one(state, action)
      after = (state, stable(new), total + reward, *ends)
      over = terminated | truncated
      return jax.tree.map(lambda old, new: jnp.where(over, old, new), carry, after), None

    false = jnp.zeros((), bool)
    carry = (state, state, jnp.float32(0), false, false)
    (before, new, reward, terminated, truncated), _ = jax.lax.scan(
      repeat, carry, length=atari.frame_skip
    )
    image = env.render(new.env_state)
    if atari.frame_skip > 1:
      image = jnp.maximum(image, env.render(before.env_state))
    ends_return = terminated
    if atari.life_loss_ends_return and hasattr(new.env_state, "lives"):
      ends_return = ends_return | (new.env_state.lives < state.env_state.lives)
    return new, frame(image), reward, 1.0 - ends_return, terminated | truncated

  return Game(reset, step, num_actions=int(env.action_space().n), frame_shape=shape)
