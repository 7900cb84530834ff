"""Playing: what is remembered between steps, and what is reported of it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from muzero_jax.types import Array, Decision, Metrics, Root, TimeStep, record


@record
class Tally:
  """Running scores of B games: raw rewards and agent steps since their episodes began, lost lives notwithstanding."""

  score: Array  # f32[B]
  length: Array  # i32[B]


@record
class ActorState:
  """Of B games, per device."""

  env: Any  # the environment's state
  decision: Decision  # the newest, not yet in the replay
  tally: Tally


def new_actor(env: Any, num_envs: int, num_actions: int) -> ActorState:
  """Before the first step."""
  zeros = jnp.zeros(num_envs, jnp.float32)
  count = jnp.zeros(num_envs, jnp.int32)
  return ActorState(env, Decision(count, jnp.zeros((num_envs, num_actions)), zeros, zeros), new_tally(num_envs))


def new_tally(num_envs: int) -> Tally:
  """Nothing played."""
  return Tally(jnp.zeros(num_envs, jnp.float32), jnp.zeros(num_envs, jnp.int32))


def count(tally: Tally, time: TimeStep) -> Tally:
  """Adds a step: a first one starts from 0, a last one completes the episode's score and length."""
  return Tally(
    score=jnp.where(time.first, 0.0, tally.score + time.reward),
    length=jnp.where(time.first, 0, tally.length + 1),
  )


def episode_metrics(tally: Tally, time: TimeStep) -> Metrics:
  """Of the episodes that end with this step; `tally` includes it."""
  ended = time.last.astype(jnp.float32)

  def total(x: Array) -> Array:
    return jnp.stack([jnp.sum(x * ended), jnp.sum(ended)])

  return {"episode/return": total(tally.score), "episode/length": total(tally.length.astype(jnp.float32))}


def search_metrics(root: Root, decision: Decision) -> Metrics:
  """How the search changed the prior. Entropies in nats."""
  size = jnp.float32(decision.action.shape[0])
  policy, prior = decision.policy, jax.nn.softmax(root.policy_logits)
  agrees = jnp.argmax(policy, -1) == jnp.argmax(prior, -1)
  values = {
    "search/entropy": _entropy(policy),
    "search/prior_entropy": _entropy(prior),
    "search/value": decision.value,
    "search/prior_value": root.value,
    "search/agreement": agrees.astype(jnp.float32),
  }
  return {name: jnp.stack([x.sum(), size]) for name, x in values.items()}


def _entropy(probabilities: Array) -> Array:
  return -jnp.sum(probabilities * jnp.log(jnp.maximum(probabilities, 1e-12)), -1)


def restarted(actor: ActorState, env: Any) -> ActorState:
  """After the environments were started anew; the newest decision still belongs into the replay."""
  return dataclasses.replace(actor, env=env, tally=new_tally(actor.tally.score.shape[0]))
