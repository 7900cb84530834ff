"""Examines an agent of an Atari game: what its model knows, and what its search adds."""

import dataclasses
import functools

import jax
import numpy as np

from muzero_jax import build
from muzero_jax.config import Config
from muzero_jax.envs import envpool
from muzero_jax.evaluation import effects, probe
from muzero_jax.evaluation.effects import Effect
from muzero_jax.evaluation.probe import Act, Trajectories
from muzero_jax.runs.restore import Agent
from muzero_jax.types import Key


@dataclasses.dataclass(frozen=True)
class Examination:
  """Plays with an agent, and measures on what it has played.

  Args:
    agent: of an Atari game.
    num_envs: environments, at least two.
    steps: agent steps in each of them.
    seed: added to the run's seed.
  """

  agent: Agent
  num_envs: int
  steps: int
  seed: int = 0

  def labels(self, count: int) -> dict[int, str]:
    """The RAM bytes to predict, and their names.

    Those with a known meaning; in other games at most `count` that change most.
    """
    known = self._known_bytes
    if known:
      return {byte: f"{name} (byte {byte})" for byte, name in known.items()}
    return {byte: f"byte {byte}" for byte in probe.changing(self._played, count)}

  def explained(self, labels: dict[int, str]) -> dict[str, np.ndarray]:
    """See `probe.explained`."""
    model, params, played = self.agent.model, self.agent.params, self._played
    predicted = {ahead: probe.predict(model, params, played, ahead) for ahead in probe.AHEAD}
    return probe.explained(played, predicted, list(labels), needed=list(self._known_bytes))

  def effects(self) -> dict[int, Effect]:
    """For each number of actions in `probe.AHEAD`: their effect on the value."""
    model, params, returns = self.agent.model, self.agent.params, build.make_returns(self._config)
    return {
      ahead: effects.value_effect(model, params, self._played, self._key, returns, ahead)
      for ahead in probe.AHEAD
    }

  def rates(self) -> dict[str, tuple[float, float]]:
    """For each way to act (`effects.actors`): see `effects.reward_rate`."""
    return {
      name: effects.reward_rate(self._play(act, randomness=0.0))
      for name, act in self._actors.items()
    }

  @property
  def _config(self) -> Config:
    return self.agent.config

  @property
  def _known_bytes(self) -> dict[int, str]:
    return probe.NAMES.get(self._config.env.task, {})

  @property
  def _key(self) -> Key:
    return jax.random.key(self._config.seed + self.seed)

  @functools.cached_property
  def _actors(self) -> dict[str, Act]:
    discount = self._config.targets.discount
    return effects.actors(self.agent.model, self.agent.search, discount)

  @functools.cached_property
  def _played(self) -> Trajectories:
    """Half of the actions are random; otherwise they could be inferred from the states."""
    return self._play(self._actors[effects.TRAINING], randomness=0.5)

  def _play(self, act: Act, randomness: float) -> Trajectories:
    config, agent = self._config, self.agent
    seed = build.env_seed(config.seed + self.seed, -3)
    environments = envpool.Observed(config.env.task, self.num_envs, seed, build.atari(config))
    return probe.record(
      agent.model,
      agent.params,
      act,
      environments,
      self._key,
      stack=config.env.stack,
      steps=self.steps,
      randomness=randomness,
    )
