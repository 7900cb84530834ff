"""EnvPool: batched emulators on host threads, stepped from inside a compiled program.

The program calls EnvPool through its XLA custom calls (CPU and GPU) or through `callback.py`
(anywhere). Each device has a pool of its own. Frames are transferred singly, not as stacks.
docs/design.md explains how XLA is made to keep the order of these calls.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import envpool
import jax
import jax.numpy as jnp
import numpy as np
from envpool.python.xla_template import make_xla
from jax.experimental.compilation_cache import compilation_cache

from muzero_jax.device import ordering, parallel
from muzero_jax.envs import callback
from muzero_jax.envs.base import GameError, Spec, no_such_game
from muzero_jax.types import Array, Key, TimeStep

BACKENDS = ("auto", "ffi", "callback")


@dataclasses.dataclass(frozen=True)
class Atari:
  """Settings of EnvPool's Atari emulator."""

  frame_height: int = 84
  frame_width: int = 84
  color: bool = False
  frame_skip: int = 4  # emulator frames per agent step
  sticky: float = 0.0  # probability that the emulator repeats the previous action
  full_action_set: bool = False
  noop_max: int = 30  # an episode starts with 1..noop_max no-ops; 0 crashes EnvPool
  fire_reset: bool = True
  life_loss_ends_return: bool = False  # discount 0 at a lost life
  max_episode_steps: int = 27000  # agent steps after which an episode is truncated

  def options(self) -> dict[str, Any]:
    """The settings as keyword arguments of `envpool.make`."""
    return dict(
      img_height=self.frame_height,
      img_width=self.frame_width,
      gray_scale=not self.color,
      frame_skip=self.frame_skip,
      repeat_action_probability=self.sticky,
      full_action_space=self.full_action_set,
      noop_max=self.noop_max,
      use_fire_reset=self.fire_reset,
      zero_discount_on_life_loss=self.life_loss_ends_return,
      max_episode_steps=self.max_episode_steps,
      stack_num=1,
    )


def check_task(task: str) -> None:
  """Checks that EnvPool has the task.

  Raises:
    GameError: it has not; the message suggests the most similar name.
  """
  if task not in (tasks := envpool.list_all_envs()):
    raise no_such_game(task, "EnvPool", tasks)


@functools.cache
def is_atari(task: str) -> bool:
  """Whether `task` runs on EnvPool's Atari emulator.

  Raises:
    GameError: EnvPool has no such task, or misses a library that it needs.
  """
  check_task(task)
  try:
    return "full_action_space" in envpool.make_spec(task).config._fields
  except ImportError as error:  # Procgen needs Qt, which EnvPool does not bring
    raise GameError(f"--env.task={task}: cannot be loaded ({str(error).rstrip('.')}).") from error


@functools.cache
def uses_all_actions(task: str) -> bool:
  """Whether an Atari game uses all 18 actions, so that its minimal action set is the full one."""
  sizes = [
    envpool.make_spec(task, full_action_space=full).action_space.n  # pyright: ignore
    for full in (False, True)
  ]
  return sizes[0] == sizes[1]


def make(
  task: str,
  num_envs: int,
  *,
  num_pools: int = 1,
  seed: int = 0,
  backend: str = "auto",
  num_threads: int = 0,
  atari: Atari | None = None,
  platform: str = "cpu",
  started: bool = True,
) -> "EnvPool":
  """Makes the environment of `num_pools` devices, with `num_envs` environments on each.

  Args:
    task: EnvPool's name, for example "Pong-v5".
    num_envs: environments per device.
    num_pools: devices of this process that step environments; each gets a pool.
    seed: environment i of device d is seeded with `seed + d * num_envs + i`.
    backend: one of `BACKENDS`; "auto" is the custom call where it works.
    num_threads: emulator threads per device; 0 divides the cores among the devices.
    atari: settings of an Atari game; ignored by other tasks.
    platform: of the devices: "cpu", "gpu" or "tpu".
    started: if false, no emulators are started; a program that steps them can be compiled only.

  Raises:
    GameError: there is no such task or it cannot be loaded, or its observation is not one array, or
      its actions are not discrete.
  """
  options = (atari or Atari()).options() if is_atari(task) else {}
  threads = num_threads or max(1, (os.cpu_count() or 1) // num_pools)

  def pool(device: int) -> Any:
    if not started:
      return Unstarted(task, num_envs, **options)
    return envpool.make(
      task,
      env_type="gymnasium",
      num_envs=num_envs,
      num_threads=min(threads, num_envs),
      seed=seed + device * num_envs,
      **options,
    )

  pools = [pool(device) for device in range(num_pools)]
  shape = getattr(pools[0].observation_space, "shape", None)
  if not hasattr(pools[0].action_space, "n") or not shape:  # () is a number, None several arrays
    raise GameError(
      f"--env.task={task}: only games with discrete actions and one observation array can be "
      "played."
    )
  return EnvPool(pools, choose_backend(backend, platform, started))


def renderer(task: str, seed: int, atari: Atari) -> Any:
  """A pool of one Atari environment that returns the emulator's own image, for videos.

  Args:
    task: EnvPool's name of an Atari game.
    seed: with the seed given to `make` and the same actions, this environment takes the same course
      as the first environment that `make` returns.
    atari: settings, except for the size and color of frames.

  Returns:
    The pool; its observations are u8[1, 3, 210, 160].
  """
  image = dict(img_height=210, img_width=160, gray_scale=False)
  return envpool.make(task, env_type="gymnasium", num_envs=1, seed=seed, **atari.options() | image)


class Observed:
  """Atari environments, stepped from Python, that return the emulators' RAM besides frames.

  Args:
    task: EnvPool's name of an Atari game.
    num_envs: B.
    seed: environment i is seeded with `seed + i`.
    atari: settings of the emulator.
  """

  def __init__(self, task: str, num_envs: int, seed: int, atari: Atari):
    self._pool = envpool.make(
      task, env_type="gymnasium", num_envs=num_envs, seed=seed, **atari.options()
    )
    self._ids = np.arange(num_envs, dtype=np.int32)
    self.num_actions = int(self._pool.action_space.n)

  def reset(self) -> tuple[TimeStep, np.ndarray]:
    """Resets all environments; returns what `step` returns."""
    self._pool.async_reset()
    return self._answer()

  def step(self, action: np.ndarray) -> tuple[TimeStep, np.ndarray]:
    """Steps all environments with actions i32[B]; returns the time step and the RAM, u8[B, 128]."""
    self._pool._send([self._ids, self._ids, np.array(action, np.int32)])
    return self._answer()

  def _answer(self) -> tuple[TimeStep, np.ndarray]:
    raw = dict(zip(self._pool._state_keys, self._pool._recv(), strict=True))
    return time_step({name: jnp.asarray(x) for name, x in raw.items()}), np.array(raw["info:ram"])


class Unstarted:
  """A pool's fields and their shapes, without emulators: enough to compile a program that steps it.

  Args:
    task: EnvPool's name.
    num_envs: B.
    **options: of `envpool.make`.
  """

  def __init__(self, task: str, num_envs: int, **options: Any):
    spec = envpool.make_spec(task, num_envs=num_envs, **options)
    self.action_space, self.observation_space = spec.action_space, spec.observation_space
    self._num_envs, self._fields = num_envs, spec.state_array_spec
    self._state_keys = list(self._fields)

  def __len__(self) -> int:
    return self._num_envs

  def async_reset(self) -> None:
    """Does nothing."""

  def _xla(self) -> tuple:
    """What EnvPool's own pools return, with the functions of a pool of one and no address."""
    token, ids = (np.dtype(np.uint8), [8]), (np.dtype(np.int32), [self._num_envs])
    # A field with an entry for each player has no axis for them: these games have one player.
    fields = [
      (np.dtype(field.dtype), [self._num_envs, *(size for size in field.shape if size != -1)])
      for field in self._fields.values()
    ]
    shapes = ((token,), (token, *fields)), ((token, ids, ids, ids), (token,))
    real: Any = envpool.make("Catch-v0", env_type="gymnasium", num_envs=1)
    return tuple(
      (name, (bytes(8), own, functions))
      for (name, (_, _, functions)), own in zip(real._xla(), shapes, strict=True)
    )


def choose_backend(backend: str, platform: str = "cpu", started: bool = True) -> str:
  """Resolves "auto" to the backend that works.

  Args:
    backend: one of `BACKENDS`.
    platform: of the devices: "cpu", "gpu" or "tpu".
    started: whether the devices are there; if so, a GPU is tried.

  Returns:
    "ffi" (EnvPool's custom calls) or "callback".
  """
  if backend != "auto":
    return backend
  if platform not in ("cpu", "gpu"):
    return "callback"
  if platform == "cpu" or not started:
    return "ffi"
  try:
    trial = EnvPool([envpool.make("Catch-v0", env_type="gymnasium", num_envs=1)], "ffi")
    state, _ = jax.jit(lambda s: trial.recv(s, None))(trial.reset(jax.random.key(0)))
    jax.block_until_ready(state)
  except Exception as error:
    print(
      f"warning: EnvPool's custom call fails on this GPU ({type(error).__name__}), using "
      "--env.backend=callback."
    )
    return "callback"
  return "ffi"


class EnvPool:
  """A `base.Environment` on EnvPool, with one pool per device.

  The environment state is a token u8[8] without content: each call takes the token that the call
  before returned, which makes XLA keep the calls in order.

  This object owns the pools: keep a reference to it as long as a program that steps it may run.

  Args:
    pools: one for each device, with equal settings.
    backend: "ffi" or "callback".
  """

  def __init__(self, pools: list[Any], backend: str):
    # A compiled program contains the memory address of its pool. A program cached on disk would
    # therefore be useless in another process, or, if the addresses happened to match, wrong.
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()  # JAX reads the setting at its first compilation only
    self.pools = pools
    self._started = [False] * len(pools)
    names = list(pools[0]._state_keys)
    if backend == "ffi":
      calls = [_ffi_calls(pool) for pool in pools]
    else:
      names = [name for name in names if name in USED]
      calls = [callback.calls(pool, names) for pool in pools]
    self._sends = [send for send, _ in calls]
    self._recvs = [_named(recv, names) for _, recv in calls]
    frame = pools[0].observation_space
    shape = _frame_shape(tuple(frame.shape))
    self.backend = backend
    self.spec = Spec(len(pools[0]), int(pools[0].action_space.n), shape, np.dtype(frame.dtype).type)

  def reset(self, key: Key, device: int = 0) -> Array:
    """See `base.Environment`. `key` is unused, because EnvPool has random generators of its own."""
    del key
    if self._started[device]:
      self.pools[device].recv()  # finish the step that was started last
    self.pools[device].async_reset()
    self._started[device] = True
    return jnp.zeros(8, jnp.uint8)

  def send(self, state: Array, action: Array) -> Array:
    """See `base.Environment`. Actions out of range are clipped: EnvPool would read out of bounds.

    Raises:
      ValueError: `action` has another shape or dtype than i32[B].
    """
    if action.shape != (self.spec.num_envs,) or action.dtype != jnp.int32:
      raise ValueError(
        f"actions must be int32[{self.spec.num_envs}], not {action.dtype}{list(action.shape)}"
      )
    action = jnp.clip(action, 0, self.spec.num_actions - 1)
    return self._on_own_pool(self._sends, state, action)

  def replay(self, actions: np.ndarray) -> np.ndarray:
    """Takes the environments, after a `reset`, on the course that these actions took them on.

    Called on the host, while no compiled program is running. It may be called again, with the
    actions that followed; then programs go on from there. The pools step at the same time.

    Args:
      actions: whole numbers [D, T, B], those that were sent to each of the D pools; T > 0.

    Returns:
      The frames that the last of the actions were chosen for, [D, B, *frame_shape].
    """
    actions = np.clip(actions, 0, self.spec.num_actions - 1).astype(np.int32)
    ids, shown = np.arange(self.spec.num_envs, dtype=np.int32), []
    frame = list(self.pools[0]._state_keys).index("obs")
    for tick in range(actions.shape[1]):
      shown = []
      for pool, chosen in zip(self.pools, actions, strict=True):
        shown.append(pool._recv()[frame])
        pool._send([ids, ids, np.array(chosen[tick])])
    return np.stack([_frames(np.array(x)) for x in shown])

  def recv(self, state: Array, after: Array | None = None) -> tuple[Array, TimeStep]:
    if after is not None:
      state = ordering.after(state, after)
    return self._on_own_pool(self._recvs, state)

  def _on_own_pool(self, calls: list[Callable], *operands: Any) -> Any:
    if len(calls) == 1:
      return calls[0](*operands)
    return jax.lax.switch(parallel.axis_index() % len(calls), calls, *operands)


def _ffi_calls(pool: Any) -> tuple[Callable, Callable]:
  """EnvPool's custom calls: send(token, action) -> token, recv(token) -> (token, *fields)."""
  raw = make_xla(pool)
  ids = np.arange(len(pool), dtype=np.int32)
  return lambda token, action: raw.send(token, ids, ids, action), raw.recv


def _frame_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
  """Maps [1, H, W] to [H, W] (XLA would pad an axis of size 1), and [3, H, W] to [H, W, 3]."""
  if len(shape) != 3:
    return shape
  return shape[1:] if shape[0] == 1 else (*shape[1:], shape[0])


def _frames(x: Any) -> Any:
  """Observations of B environments, of NumPy or JAX, with axes as `_frame_shape` has them."""
  if x.ndim != 4:
    return x
  return x.squeeze(1) if x.shape[1] == 1 else x.transpose(0, 2, 3, 1)


def _named(recv: Callable, names: Sequence[str]) -> Callable[[Array], tuple[Array, TimeStep]]:
  """Wraps `recv` so that it returns a `TimeStep` in place of EnvPool's fields of these names."""

  def named_recv(token: Array) -> tuple[Array, TimeStep]:
    token, *fields = recv(token)
    return token, time_step(dict(zip(names, fields, strict=True)))

  return named_recv


# The fields of EnvPool that `time_step` reads, if the task has them.
USED = (
  "obs",
  "done",
  "trunc",
  "info:terminated",
  "step_type",
  "elapsed_step",
  "discount",
  "reward",
  "info:reward",
)


def time_step(raw: dict[str, Array]) -> TimeStep:
  """Converts EnvPool's fields to a `TimeStep`.

  EnvPool's discount cannot be used at the end of an episode, because it is 0 for truncated episodes
  too. Whether an episode terminated, Atari tells by `info:terminated`, other tasks by `done`
  without `trunc`. An Atari episode that terminates exactly at the step limit counts as terminated.
  """
  done = raw["done"].astype(bool)
  over = (
    raw["info:terminated"].astype(bool) if "info:terminated" in raw else ~raw["trunc"].astype(bool)
  )
  first = (raw["step_type"] == 0) & (raw["elapsed_step"] == 0)
  discount = jnp.where(done, ~over, raw["discount"] != 0) | first
  return TimeStep(
    frame=_frames(raw["obs"]),
    reward=jnp.where(first, 0.0, raw.get("info:reward", raw["reward"]).astype(jnp.float32)),
    discount=discount.astype(jnp.float32),
    first=first,
    last=done,
  )
