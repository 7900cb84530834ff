"""Plays full episodes with an agent, and computes statistics of their returns."""

import dataclasses
import functools
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax import actor
from muzero_jax.actor import EpisodeStatistics
from muzero_jax.envs.base import Environment, check_step
from muzero_jax.networks.model import initial_inference
from muzero_jax.types import Array, Decision, Key, Model, Params, Root, SearchFn, TimeStep, record

# An episode is stuck if for this many agent steps it has had no reward and no life was lost.
STUCK = 2000


class EvaluationProgress(NamedTuple):
  """What an evaluation has done so far."""

  over: int  # finished episodes
  steps: int  # agent steps of the longest unfinished episode
  stuck: int  # environments that still play and are stuck (`STUCK`)


@record
class PlayState:
  """The state of playing in B environments; there is no replay, so it has stacks of frames."""

  env: Any
  frames: Array  # u8[B, S, *frame_shape]
  key: Key


@record
class Results:
  """The results of up to G finished episodes in each of B environments."""

  episodes: EpisodeStatistics  # of the episodes that are in progress
  played: Array  # i32[B]   finished episodes
  score: Array  # f32[B, G]   raw return
  length: Array  # i32[B, G]   agent steps
  idle: Array  # i32[B]   agent steps since the last reward or lost life of the current episode
  cut: Array  # i32[B, G]   `idle` where an episode was truncated; -1 where it ended by itself


def no_results(num_envs: int, rounds: int) -> Results:
  """`Results` without a finished episode, with room for `rounds` in each environment."""
  zeros, count = jnp.zeros((num_envs, rounds)), jnp.zeros(num_envs, jnp.int32)
  whole = zeros.astype(jnp.int32)
  return Results(actor.no_episodes(num_envs), count, zeros, whole, count, whole - 1)


@dataclasses.dataclass(frozen=True)
class Evaluator:
  """Plays the same number of full episodes in every environment.

  Taking the first episodes to finish instead would favor short ones.

  Args:
    environment: of B environments, on one device.
    model: the agent's network.
    search: chooses the actions.
    stack: frames that the network sees.
  """

  environment: Environment
  model: Model
  search: SearchFn
  stack: int

  def start(self, key: Key) -> PlayState:
    """Resets the environments. Called on the host, while no compiled program is running."""
    env_key, key = jax.random.split(key)
    spec = self.environment.spec
    frames = jnp.zeros((spec.num_envs, self.stack, *spec.frame_shape), spec.frame_dtype)
    return PlayState(self.environment.reset(env_key), frames, key)

  def step(self, params: Params, state: PlayState) -> tuple[PlayState, TimeStep, Decision]:
    """One agent step in every environment: receives frames, searches, sends actions."""
    state, timestep, root, key = self.see(params, state)
    decision = self.search(params, key, root)
    return self.act(state, decision), timestep, decision

  def see(self, params: Params, state: PlayState) -> tuple[PlayState, TimeStep, Root, Key]:
    """The first half of a step: receives frames, and makes the root and the key of the search."""
    key, search_key = jax.random.split(state.key)
    env, timestep = self.environment.recv(state.env)
    check_step(self.environment.spec, timestep)
    frames = push(state.frames, timestep)
    root = initial_inference(self.model, params, frames)
    return PlayState(env, frames, key), timestep, root, search_key

  def act(self, state: PlayState, decision: Decision) -> PlayState:
    """The second half: sends the actions."""
    env = self.environment.send(state.env, decision.action)
    return dataclasses.replace(state, env=env)

  def play(
    self,
    params: Params,
    key: Key,
    episodes: int,
    between: Callable[[EvaluationProgress], None] | None = None,
  ) -> dict[str, list]:
    """Plays a number of full episodes.

    Args:
      params: the model's parameters, on one device.
      key: for the search, and for pure-JAX environments.
      episodes: how many episodes; rounded up to the same number in every environment, the surplus
        is discarded.
      between: called about every second. Signals are handled then, too.

    Returns:
      A dictionary of lists of length `episodes`: "returns", the raw returns; "lengths", the agent
      steps of the episodes; "idle", for truncated episodes the agent steps since the last reward or
      lost life (as far as the environment shows these by discount 0), and -1 for others.
    """
    spec = self.environment.spec
    rounds = -(-episodes // spec.num_envs)
    results = no_results(spec.num_envs, rounds)
    state, steps = self.start(key), 16
    while int(results.played.min()) < rounds:
      begun = perf_counter()
      state, results = self._program(params, state, results, np.int32(steps))
      jax.block_until_ready(results)
      steps = max(1, min(256, int(steps * min(2.0, 1.0 / (perf_counter() - begun)))))
      if between:
        between(progress(results))
    jax.block_until_ready(state)
    # All first episodes of the environments come first, then all second ones, and so on. So the
    # choice of the episodes that are discarded does not depend on their lengths.
    columns = {"returns": results.score, "lengths": results.length, "idle": results.cut}
    return {
      name: np.asarray(values).T.reshape(-1)[:episodes].tolist() for name, values in columns.items()
    }

  @functools.cached_property
  def _program(self) -> Callable:
    return jax.jit(self._chunk)

  def _chunk(
    self, params: Params, state: PlayState, results: Results, steps: Array
  ) -> tuple[PlayState, Results]:
    """Takes up to `steps` (i32[]) steps in every environment."""
    rounds = results.score.shape[1]

    def going_on(carry):
      step, _, results = carry
      return (step < steps) & (results.played.min() < rounds)

    def body(carry):
      step, state, results = carry
      state, timestep, _ = self.step(params, state)
      return step + 1, state, finish(results, timestep)

    _, state, results = jax.lax.while_loop(going_on, body, (jnp.int32(0), state, results))
    return state, results


def push(frames: Array, timestep: TimeStep) -> Array:
  """Appends a step's frames to the stacks.

  The first frame of an episode fills its whole stack, as in the replay (`replay/stacks.py`).

  Args:
    frames: the stacks u8[B, S, *frame_shape]; the newest frame is last.
    timestep: what the stacks get.

  Returns:
    The new stacks, in the same shape.
  """
  pushed = jnp.concatenate([frames[:, 1:], timestep.frame[:, None]], 1)
  filled = jnp.broadcast_to(timestep.frame[:, None], frames.shape)
  return jnp.where(timestep.first.reshape(-1, *[1] * (frames.ndim - 1)), filled, pushed)


def finish(results: Results, timestep: TimeStep) -> Results:
  """Records the episodes that end with this step; an environment's surplus ones are dropped."""
  episodes = actor.count(results.episodes, timestep)
  envs = jnp.arange(results.played.shape[0])
  beyond = results.score.shape[1]  # out of range: not written
  slot = jnp.where(timestep.last, results.played, beyond)
  event = timestep.first | (timestep.reward != 0) | (timestep.discount == 0)
  idle = jnp.where(event, 0, results.idle + 1)
  return Results(
    episodes,
    results.played + (timestep.last & (results.played < results.score.shape[1])),
    results.score.at[envs, slot].set(episodes.score, mode="drop"),
    results.length.at[envs, slot].set(episodes.length, mode="drop"),
    idle,
    results.cut.at[envs, slot].set(jnp.where(timestep.discount > 0, idle, -1), mode="drop"),
  )


def progress(results: Results) -> EvaluationProgress:
  """What an evaluation has done so far, on the host."""
  playing = np.asarray(results.played) < results.score.shape[1]
  steps, idle = (np.where(playing, x, 0) for x in (results.episodes.length, results.idle))
  return EvaluationProgress(int(results.played.sum()), int(steps.max()), int((idle >= STUCK).sum()))
