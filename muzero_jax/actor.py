"""The actor's state between two ticks, and the metrics of finished episodes.

The step itself is in `Loop.tick`.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp

from muzero_jax.diagnostics import PendingReturn, no_returns_pending
from muzero_jax.types import Array, Decision, Metrics, TimeStep, record


@record
class EpisodeStatistics:
  """Score and length so far of the current episode in each of B environments.

  Lost lives do not end an episode, whatever `--env.life_loss_ends_return` says.
  """

  score: Array  # f32[B]   sum of raw rewards
  length: Array  # i32[B]   agent steps


@record
class ActorState:
  """What the actor carries from tick to tick, for the B environments of one device."""

  env: Any  # the environment's state
  decision: Decision  # the newest one; stored in the replay at the next tick
  episodes: EpisodeStatistics
  probe: PendingReturn  # called so in checkpoints


def new_actor(env: Any, num_envs: int, num_actions: int) -> ActorState:
  """The actor's state before the first step; `env` is the state of the environments."""
  zeros = jnp.zeros(num_envs, jnp.float32)
  count = jnp.zeros(num_envs, jnp.int32)
  decision = Decision(count, jnp.zeros((num_envs, num_actions)), zeros, zeros, zeros, zeros)
  return ActorState(env, decision, no_episodes(num_envs), no_returns_pending(num_envs))


def no_episodes(num_envs: int) -> EpisodeStatistics:
  """Statistics of episodes in which no step was made yet."""
  return EpisodeStatistics(jnp.zeros(num_envs, jnp.float32), jnp.zeros(num_envs, jnp.int32))


def count(episodes: EpisodeStatistics, timestep: TimeStep) -> EpisodeStatistics:
  """Adds one step: a first step resets score and length to 0, every other step adds to them."""
  return EpisodeStatistics(
    score=jnp.where(timestep.first, 0.0, episodes.score + timestep.reward),
    length=jnp.where(timestep.first, 0, episodes.length + 1),
  )


def episode_metrics(episodes: EpisodeStatistics, timestep: TimeStep) -> Metrics:
  """Means over episodes at a step, which `episodes` includes already.

  "episode/return" and "episode/length" are of those that end, "episode/unfinished" is the return so
  far of the others.
  """

  def total(x: Array, where: Array) -> Array:
    return jnp.stack([jnp.sum(jnp.where(where, x, 0.0)), jnp.sum(where.astype(jnp.float32))])

  return {
    "episode/return": total(episodes.score, timestep.last),
    "episode/length": total(episodes.length.astype(jnp.float32), timestep.last),
    "episode/unfinished": total(episodes.score, ~timestep.last),
  }


def restarted(actor: ActorState, env: Any) -> ActorState:
  """The actor's state after the environments were reset, when a run is resumed.

  The newest decision is kept: the next tick stores it in the replay.
  """
  num_envs = actor.episodes.score.shape[0]
  return dataclasses.replace(
    actor, env=env, episodes=no_episodes(num_envs), probe=no_returns_pending(num_envs)
  )
