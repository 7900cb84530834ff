"""Playing: what is remembered between steps, and what is reported of it."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from muzero_jax.diagnostics import Probe, new_probe
from muzero_jax.types import Array, Decision, Metrics, TimeStep, record


@record
class EpisodeStatistics:
  """Running scores of B games: raw rewards and agent steps since their episodes began, lost lives
  notwithstanding.
  """

  score: Array  # f32[B]
  length: Array  # i32[B]


@record
class ActorState:
  """Of B games, per device."""

  env: Any  # the environment's state
  decision: Decision  # the newest, not yet in the replay
  episodes: EpisodeStatistics
  probe: Probe


def new_actor(env: Any, num_envs: int, num_actions: int) -> ActorState:
  """Before the first step."""
  zeros = jnp.zeros(num_envs, jnp.float32)
  count = jnp.zeros(num_envs, jnp.int32)
  decision = Decision(count, jnp.zeros((num_envs, num_actions)), zeros, zeros, zeros, zeros)
  return ActorState(env, decision, no_episodes(num_envs), new_probe(num_envs))


def no_episodes(num_envs: int) -> EpisodeStatistics:
  """Nothing played."""
  return EpisodeStatistics(jnp.zeros(num_envs, jnp.float32), jnp.zeros(num_envs, jnp.int32))


def count(episodes: EpisodeStatistics, time: TimeStep) -> EpisodeStatistics:
  """Adds a step: a first one starts from 0, a last one completes the episode's score and length."""
  return EpisodeStatistics(
    score=jnp.where(time.first, 0.0, episodes.score + time.reward),
    length=jnp.where(time.first, 0, episodes.length + 1),
  )


def episode_metrics(episodes: EpisodeStatistics, time: TimeStep) -> Metrics:
  """Of the episodes that end with this step; `episodes` includes it."""
  ended = time.last.astype(jnp.float32)

  def total(x: Array) -> Array:
    return jnp.stack([jnp.sum(x * ended), jnp.sum(ended)])

  return {
    "episode/return": total(episodes.score),
    "episode/length": total(episodes.length.astype(jnp.float32)),
  }


def restarted(actor: ActorState, env: Any) -> ActorState:
  """After the environments were started anew; the newest decision still belongs into the replay."""
  num_envs = actor.episodes.score.shape[0]
  return dataclasses.replace(
    actor, env=env, episodes=no_episodes(num_envs), probe=new_probe(num_envs)
  )
