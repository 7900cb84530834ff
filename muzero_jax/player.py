"""An agent for environments that your own code steps, for example with gymnasium or EnvPool."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.config import ConfigError
from muzero_jax.envs.base import Spec
from muzero_jax.evaluation.evaluator import push
from muzero_jax.networks.model import initial_inference
from muzero_jax.search.trees import SearchTree, decide
from muzero_jax.types import Array, Key, Model, Params, Root, SearchFn, TimeStep


class Player:
  """Chooses an action for each observation. It remembers the frames that the network stacks.

  Args:
    model: the agent's model.
    search: the search that chooses the actions.
    params: the parameters of the search (`LearnerState.variables`), on one device.
    spec: the environment that the agent was trained on; its number of environments is ignored.
    stack: S, frames that the network sees.
    seed: of the random numbers that the search draws.
    discount: per agent step; only `tree` needs it.
    names: of the actions, as trees show them; (): their numbers.
  """

  def __init__(
    self,
    model: Model,
    search: SearchFn,
    params: Params,
    spec: Spec,
    stack: int,
    seed: int = 0,
    discount: float = 1.0,
    names: Sequence[str] = (),
  ):
    self._discount, self._names = discount, names
    self._model, self._search, self._params = model, search, params
    self._spec, self._stack = spec, stack
    self._key = jax.random.key(seed)
    self._frames: Array | None = None  # [B, S, *frame_shape]; None before the first observation
    self._program, self._thinking = jax.jit(self._step), jax.jit(self._think)

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
    frame, first, frames, single = self._given(observation, first)
    before = frames, self._key
    action, (self._frames, self._key) = self._program(self._params, before, frame, first)
    return np.asarray(action)[0] if single else np.asarray(action)

  def tree(self, observation: Any, first: Any) -> Any:
    """The tree of the search that `act` would make now, with the same arguments.

    Nothing is remembered: the next call of `act` or `tree` continues from the same frames, and
    draws the same random numbers.

    Args:
      observation, first: as those of `act`.

    Returns:
      A list of B `search.trees.SearchTree`; for a single environment, one of them.

    Raises:
      ConfigError: the agent's search has no tree.
      ValueError: as in `act`.
    """
    frame, first, frames, single = self._given(observation, first)
    found = self._thinking(self._params, (frames, self._key), frame, first)
    decision, branches = jax.device_get(found)
    if branches is None:
      raise ConfigError(
        "this agent searches without a tree (--search.kind=none looks one step ahead): there is "
        "none to show; train with --search.kind=gumbel or puct."
      )
    trees = [
      SearchTree.of(branches, decision, number, self._discount, self._names)
      for number in range(len(frame))
    ]
    return trees[0] if single else trees

  def _given(self, observation: Any, first: Any) -> tuple[np.ndarray, np.ndarray, Array, bool]:
    """Checks the arguments of `act`.

    Returns:
      The observation [B, *frame_shape], `first` bool[B], the stacks before this observation, and
      whether it is of a single environment.
    """
    frame, single = self._frame(np.asarray(observation))
    first = np.broadcast_to(np.asarray(first, bool), frame.shape[:1])
    if self._frames is not None and len(self._frames) == len(frame):
      return frame, first, self._frames, single
    if not first.all():
      raise ValueError("the first observation of every environment must come with first=True")
    shape = (len(frame), self._stack, *self._spec.frame_shape)
    return frame, first, jnp.zeros(shape, self._spec.frame_dtype), single

  def _step(
    self, params: Params, before: tuple[Array, Key], frame: Array, first: Array
  ) -> tuple[Array, tuple[Array, Key]]:
    root, search_key, after = self._see(params, before, frame, first)
    return self._search(params, search_key, root).action, after

  def _think(self, params: Params, before: tuple[Array, Key], frame: Array, first: Array) -> Any:
    root, search_key, _ = self._see(params, before, frame, first)
    return decide(self._search, params, search_key, root)

  def _see(
    self, params: Params, before: tuple[Array, Key], frame: Array, first: Array
  ) -> tuple[Root, Key, tuple[Array, Key]]:
    """The root and the key of the search, and what is remembered."""
    frames, key = before
    key, search_key = jax.random.split(key)
    zeros = jnp.zeros(first.shape)
    frames = push(frames, TimeStep(frame, reward=zeros, discount=zeros, first=first, last=~first))
    return initial_inference(self._model, params, frames), search_key, (frames, key)

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
