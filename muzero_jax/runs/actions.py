"""The actions of a run since its environments were seeded, for `--resume=exact`.

EnvPool and gymnasium cannot save their environments, but with the same seed and the same actions
these take the same course. So each checkpoint holds all actions so far, a byte per agent step, and
a run that goes on plays them again: the environments step, nothing is searched or learned.

The actions are read from the replay, which holds the newest ones anyway: the compiled program does
not know of this.
"""

import time
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from muzero_jax import build
from muzero_jax.build import Run
from muzero_jax.config import Config, ConfigError
from muzero_jax.device import parallel
from muzero_jax.envs.base import Spec
from muzero_jax.envs.envpool import EnvPool
from muzero_jax.loop import Local
from muzero_jax.runs.saved import Saved

_CHUNK = 256  # ticks that are played again at once; in between, signals are handled
_SECONDS = 30.0  # between two lines that say how far it is


def exact(config: Config, saved: Saved) -> bool:
  """Whether a run goes on from a checkpoint as if it had never stopped, environments included.

  Raises:
    ConfigError: that was asked for, and the checkpoint lacks what it takes; not if
      `override_config` is on.
  """
  if config.resume != "exact":
    return False
  needed, flag = ("replay", "--checkpoint.replay")
  if build.restarts(config):
    needed, flag = ("actions", "--resume=exact")
  if saved.has(needed) or config.override_config:
    return saved.has(needed)
  raise ConfigError(
    f"--resume=exact: the checkpoint at {saved.env_steps:,} steps holds no {needed}, because it "
    f"was saved without {flag}: use --resume=episodes, or --override_config to start new episodes "
    "once more and be exact from then on."
  )


def begun(config: Config, saved: Saved) -> int:
  """The agent steps at which the environments are, or were, seeded.

  Raises:
    ConfigError: as `exact` does.
  """
  if exact(config, saved) and build.restarts(config):
    return int(saved.progress()["begun"])
  return saved.env_steps


class Actions:
  """The actions so far in the environments of this process.

  Args:
    spec: of the environments.
    rows: rows of the replay's ring, C.
    ticks: ticks done so far.
    chosen: the actions, whole numbers [D, T, B], with D devices of this process and T ticks since
      the environments were seeded.
  """

  def __init__(self, spec: Spec, rows: int, ticks: int, chosen: np.ndarray):
    self._rows, self._ticks = rows, ticks
    self.chosen = chosen.astype(np.min_scalar_type(max(spec.num_actions - 1, 0)))

  @property
  def limit(self) -> int:
    """The tick by which `collect` must be called again, before the ring overwrites actions."""
    return self._ticks + self._rows

  def collect(self, local: Local, ticks: int) -> None:
    """Adds the actions since the last call.

    At head h, the newest step is in row h - 1, and the action chosen at it is still that of
    `local.actor.decision`; those before it are in the rows of their steps.

    Args:
      local: the state on the devices after `ticks` ticks.
      ticks: ticks done so far.
    """
    count, head = ticks - self._ticks, int(parallel.one(local.replay.head))
    assert 0 <= count <= self._rows, "actions were overwritten"
    if not count:
      return
    rows = np.arange(head - count, head - 1) % self._rows
    stored, newest = (parallel.parts(x) for x in (local.replay.action, local.actor.decision.action))
    new = np.concatenate([stored[:, rows], newest[:, None]], 1).astype(self.chosen.dtype)
    self.chosen, self._ticks = np.concatenate([self.chosen, new], 1), ticks

  def tree(self, devices: Mesh) -> dict[str, jax.Array]:
    """What a checkpoint holds of them: [devices, T, B], split over the devices."""
    return {"chosen": parallel.split(self.chosen, devices)}


def none(spec: Spec, rows: int, ticks: int, devices: int) -> Actions:
  """No actions yet, for so many devices of this process."""
  return Actions(spec, rows, ticks, np.zeros((devices, 0, spec.num_envs), np.uint8))


def restored(saved: Saved, spec: Spec, rows: int, ticks: int, devices: Mesh) -> Actions:
  """The actions that a checkpoint holds.

  Raises:
    ConfigError: they are of another number of environments or devices.
    Damaged: they cannot be read.
  """
  shape = next(iter(saved.shapes("actions").values()), ())
  if len(shape) != 3 or (shape[0], shape[2]) != (devices.size, spec.num_envs):
    raise refused("the actions in the checkpoint are of another number of environments or devices")
  dtype = np.min_scalar_type(max(spec.num_actions - 1, 0))
  abstract: Any = jax.ShapeDtypeStruct(shape, dtype, sharding=parallel.divided(devices))
  found = saved.restore(actions={"chosen": abstract})["actions"]["chosen"]
  return Actions(spec, rows, ticks, parallel.parts(found))


def refused(why: str) -> ConfigError:
  """The error that a run cannot go on exactly; `why` is a clause."""
  return ConfigError(f"--resume=exact: {why}; use --resume=episodes.")


def play(environment: EnvPool, chosen: np.ndarray) -> np.ndarray:
  """Plays actions again in environments that were reset, and prints how far it is.

  Args:
    environment: steps the environments of this process.
    chosen: `Actions.chosen`, of at least one tick.

  Returns:
    What `EnvPool.replay` returns: the newest frames.
  """
  ticks, per_tick = chosen.shape[1], chosen.shape[0] * chosen.shape[2]
  print(f"playing {chosen.size:,} steps again, to where the environments were", flush=True)
  begun = shown = time.perf_counter()
  frames = np.zeros(0)
  for start in range(0, ticks, _CHUNK):
    frames = environment.replay(chosen[:, start : start + _CHUNK])
    done, now = min(start + _CHUNK, ticks), time.perf_counter()
    if now - shown > _SECONDS and done < ticks:
      left = (now - begun) * (ticks - done) / done
      print(f"{done * per_tick:,} steps played again, about {left:,.0f} s left", flush=True)
      shown = now
  print(f"played again in {time.perf_counter() - begun:.0f} s", flush=True)
  return frames


def caution(run: Run) -> list[str]:
  """What --resume=exact cannot promise on the run's devices, in a sentence, if anything."""
  if run.config.resume != "exact" or run.target.platform != "gpu":
    return []
  return [
    "warning: --resume=exact: on a GPU, XLA chooses kernels by timing them, and some add in no "
    "fixed order, so that a resumed run may differ from an uninterrupted one in the last bits."
  ]
