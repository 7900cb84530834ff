"""Adapter for environments of gymnasium, written in Python, with discrete actions and one array.

A `Pool` steps a batch of them in a thread and has the methods of EnvPool's pools, so that
`envpool.EnvPool` reaches it through its callback. Python environments step one after the other.
"""

import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np

from muzero_jax import optional
from muzero_jax.envs.base import GameError
from muzero_jax.envs.envpool import EnvPool


def make(
  task: str, num_envs: int, *, num_pools: int = 1, seed: int = 0, started: bool = True
) -> EnvPool:
  """Makes the environment of `num_pools` devices, with `num_envs` environments on each.

  Args:
    task: gymnasium's name, for example "CartPole-v1", or MODULE:NAME, where importing the module
      registers the environment.
    num_envs: environments per device.
    num_pools: devices of this process that step environments; each gets a pool.
    seed: environment i of device d is seeded with `seed + d * num_envs + i`.
    started: if false, only one environment is made, for its spaces; a program that steps them can
      be compiled only.

  Raises:
    GameError: gymnasium is not installed, has no such environment or cannot make it, or its
      observations are not one array, or its actions are not discrete.
  """
  pools = [Pool(task, num_envs, seed + device * num_envs, started) for device in range(num_pools)]
  return EnvPool(pools, "callback")


class Pool:
  """B environments with the methods of EnvPool's pools that `envpool` and `callback` call.

  A reset takes a step of its own, as in EnvPool: gymnasium calls it "next step". Observations of
  u8 stay so, all others become f32; images [H, W, channels] are handed on as EnvPool's are,
  [channels, H, W].

  Args:
    task: gymnasium's name.
    num_envs: B.
    seed: environment i is seeded with `seed + i`.
    started: as in `make`.
  """

  # EnvPool's names of the fields that `envpool.time_step` reads.
  _state_keys = ("obs", "reward", "done", "trunc", "discount", "step_type", "elapsed_step")

  def __init__(self, task: str, num_envs: int, seed: int, started: bool = True):
    self._envs = _made(task, num_envs if started else 1)
    self._num_envs = num_envs
    self._seeds: list[int] | None = [seed + i for i in range(num_envs)]
    space, actions = self._envs.single_observation_space, self._envs.single_action_space
    shape, dtype = _frames(task, space, actions)
    self.observation_space = SimpleNamespace(shape=shape, dtype=dtype)
    self.action_space = SimpleNamespace(n=actions.n)
    self._first_action = int(actions.start)
    # A single thread, so that steps follow each other, while the device goes on.
    self._thread = ThreadPoolExecutor(1, thread_name_prefix="gymnasium")
    self._answer: Future | None = None
    self._last = np.zeros(num_envs, bool)  # of the step before

  def __len__(self) -> int:
    return self._num_envs

  def _xla(self) -> tuple:
    """Shapes and dtypes as EnvPool states them: only the fields of `recv` are needed."""
    batch = [len(self)]
    kinds = {
      "obs": (self.observation_space.dtype, [*batch, *self.observation_space.shape]),
      "reward": (np.dtype(np.float32), batch),
      "done": (np.dtype(bool), batch),
      "trunc": (np.dtype(bool), batch),
      "discount": (np.dtype(np.float32), batch),
      "step_type": (np.dtype(np.int32), batch),
      "elapsed_step": (np.dtype(np.int32), batch),
    }
    token = (np.dtype(np.uint8), [8])
    fields = (token, *(kinds[name] for name in self._state_keys))
    return ("recv", (b"", ((token,), fields), ())), ("send", None)

  def async_reset(self) -> None:
    """Starts to reset all environments."""
    self._answer = self._thread.submit(self._reset)

  def _send(self, message: list[np.ndarray]) -> None:
    """Starts a step; `message` is [ids, ids, actions i32[B]], with the ids in order."""
    self._answer = self._thread.submit(self._step, message[-1])

  def _recv(self) -> list[np.ndarray]:
    """Waits for the step; returns the fields of `_state_keys`."""
    assert self._answer is not None, "nothing was sent"
    return self._answer.result()

  def recv(self) -> list[np.ndarray]:
    """As `_recv`, under the name that `envpool.EnvPool.reset` calls."""
    return self._recv()

  def _reset(self) -> list[np.ndarray]:
    # The seeds of the first reset hold for all later ones.
    seeds, self._seeds = self._seeds, None
    observation, _ = self._envs.reset(seed=seeds)
    none = np.zeros(len(self), bool)
    return self._fields(observation, np.zeros(len(self)), none, none, ~none)

  def _step(self, action: np.ndarray) -> list[np.ndarray]:
    first = self._last
    action = action.astype(np.int64) + self._first_action
    observation, reward, terminated, truncated, _ = self._envs.step(action)
    return self._fields(observation, reward, terminated, truncated, first)

  def _fields(
    self,
    observation: Any,
    reward: np.ndarray,
    terminated: np.ndarray,
    truncated: np.ndarray,
    first: np.ndarray,
  ) -> list[np.ndarray]:
    """The fields of `_state_keys`. An episode that ends in both ways at once has terminated."""
    frame = np.asarray(observation, self.observation_space.dtype)
    frame = np.moveaxis(frame, -1, 1) if frame.ndim == 4 else frame
    self._last = terminated | truncated
    inside = np.where(first, 0, 1).astype(np.int32)
    fields = {
      "obs": frame,
      "reward": reward,
      "done": self._last,
      "trunc": truncated & ~terminated,
      "discount": ~terminated,
      "step_type": inside,
      "elapsed_step": inside,
    }
    return [fields[name] for name in self._state_keys]


def _made(task: str, num_envs: int) -> Any:
  """gymnasium's vector of environments.

  Raises:
    GameError: gymnasium is not installed, or cannot make the environment.
  """
  with optional.needed("--env.kind=gymnasium needs gymnasium", "gymnasium", GameError):
    import gymnasium
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # about versions and wrappers of environments
      return gymnasium.make_vec(
        task,
        num_envs,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP},
      )
  except Exception as error:  # an environment may raise anything
    reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    raise GameError(f"--env.task={task}: gymnasium cannot make it ({reason}).") from error


def _frames(task: str, space: Any, actions: Any) -> tuple[tuple[int, ...], np.dtype]:
  """Shape, channels first, and dtype of the observations.

  Raises:
    GameError: they are not one array of 1 to 3 axes, or actions are not discrete.
  """
  from gymnasium import spaces

  arrays = (spaces.Box, spaces.MultiBinary, spaces.MultiDiscrete)
  shape = space.shape if isinstance(space, arrays) else ()
  if not isinstance(actions, spaces.Discrete) or not 1 <= len(shape) <= 3:
    raise GameError(
      f"--env.task={task}: only environments with discrete actions and one observation array of 1 "
      f"to 3 axes can be played, and this one has {space} and {actions}."
    )
  dtype = np.dtype(np.uint8 if space.dtype == np.uint8 else np.float32)
  return (shape[2], *shape[:2]) if len(shape) == 3 else tuple(shape), dtype
