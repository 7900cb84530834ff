"""An agent for environments that your own code steps, for example with gymnasium or EnvPool."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.envs.base import Spec
from muzero_jax.evaluation.evaluator import push
from muzero_jax.networks.model import initial_inference
from muzero_jax.types import Array, Key, Model, Params, SearchFn, TimeStep


class Player:
  """Chooses an action for each observation. It remembers the frames that the network stacks.

  Args:
    model: the agent's model.
    search: the search that chooses the actions.
    params: the parameters of the search (`LearnerState.variables`), on one device.
    spec: the environment that the agent was trained on; its number of environments is ignored.
    stack: S, frames that the network sees.
    seed: of the random numbers that the search draws.
  """

  def __init__(
    self,
    model: Model,
    search: SearchFn,
    params: Params,
    spec: Spec,
    stack: int,
    seed: int = 0,
  ):
    self._model, self._search, self._params = model, search, params
    self._spec, self._stack = spec, stack
    self._key = jax.random.key(seed)
    self._frames: Array | None = None  # [B, S, *frame_shape]; None before the first observation
    self._program = jax.jit(self._step)

  def act(self, observation: Any, first: Any) -> np.ndarray:
    """Chooses an action in every environment.

    Args:
      observation: u8[B, H, W], or [B, *frame_shape] in general, with the shape and dtype of the
        frames in training; without the axis B for a single environment. EnvPool's [B, 1, H, W]
        and [B, 3, H, W] are accepted, too.
      first: bool[B], or one bool for all environments: whether the observation begins an episode.
        Earlier frames of that environment are then forgotten.

    Returns:
      The actions, i32[B]; i32[] for a single environment.

    Raises:
      ValueError: the observation has another shape or dtype than in training; or `first` is not
        set although this is the first call, or the first with this number of environments.
    """
    frame, single = self._frame(np.asarray(observation))
    first = np.broadcast_to(np.asarray(first, bool), frame.shape[:1])
    if self._frames is None or len(self._frames) != len(frame):
      if not first.all():
        raise ValueError("the first observation of every environment must come with first=True")
      shape = (len(frame), self._stack, *self._spec.frame_shape)
      self._frames = jnp.zeros(shape, self._spec.frame_dtype)
    before = self._frames, self._key
    action, (self._frames, self._key) = self._program(self._params, before, frame, first)
    return np.asarray(action)[0] if single else np.asarray(action)

  def _step(
    self,
    params: Params,
    before: tuple[Array, Key],
    frame: Array,
    first: Array,
  ) -> tuple[Array, tuple[Array, Key]]:
    frames, key = before
    key, search_key = jax.random.split(key)
    zeros = jnp.zeros(first.shape)
    frames = push(frames, TimeStep(frame, reward=zeros, discount=zeros, first=first, last=~first))
    decision = self._search(params, search_key, initial_inference(self._model, params, frames))
    return decision.action, (frames, key)

  def _frame(self, observation: np.ndarray) -> tuple[np.ndarray, bool]:
    """The observation as [B, *frame_shape], and whether it is of a single environment."""
    shape, dtype = self._spec.frame_shape, np.dtype(self._spec.frame_dtype)
    given = f"{observation.dtype.name}{list(observation.shape)}"
    wanted = f"{dtype.name}{list(shape)}, alone or with an axis of environments in front"
    if observation.dtype != dtype and not (observation.dtype.kind == dtype.kind == "f"):
      raise ValueError(f"observations must be {wanted}, not {given}")
    observation = observation.astype(dtype)
    if observation.shape == shape:
      return observation[None], True
    if observation.shape[1:] == (1, *shape):
      observation = observation[:, 0]
    elif len(shape) == 3 and observation.shape[1:] == (shape[2], *shape[:2]):
      observation = np.moveaxis(observation, 1, -1)
    if observation.shape[1:] != shape:
      raise ValueError(f"observations must be {wanted}, not {given}")
    return observation, False
