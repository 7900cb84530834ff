"""The state of a run on the devices, and how it begins: anew, or from a checkpoint."""

import dataclasses
from typing import Any

import jax
import numpy as np

from muzero_jax import build, loop
from muzero_jax.actor import restarted
from muzero_jax.build import Run
from muzero_jax.config import ConfigError
from muzero_jax.device import parallel
from muzero_jax.envs.envpool import EnvPool
from muzero_jax.replay.frames import Replay
from muzero_jax.runs import actions
from muzero_jax.runs.actions import Actions
from muzero_jax.runs.saved import Saved
from muzero_jax.types import record


@record
class State:
  """The state of a run on the devices."""

  shared: loop.Shared
  local: loop.Local


@dataclasses.dataclass(frozen=True)
class InitialState:
  """The state from which a run begins or goes on, and what the host had counted by then."""

  state: State
  progress: dict[str, Any]  # what the host had counted, by name; {} in a new run
  actions: Actions | None  # those so far, if checkpoints hold them


def begin(run: Run, saved: Saved | None) -> InitialState:
  """The state of a new run, or that of a checkpoint.

  Raises:
    ConfigError: the run has skipped more gradient steps than --skip_nonfinite allows, or cannot
      go on exactly, as --resume asks.
  """
  shared, local = run.shared(), run.local()
  if saved is None:
    return InitialState(State(shared, local), {}, _no_actions(run, 0))
  progress = saved.progress()
  shared = saved.learner(shared)
  # Of fewer or more environments than the checkpoint's, other ticks make the same agent steps.
  ticks = -(-saved.env_steps // run.width)
  shared = dataclasses.replace(shared, ticks=parallel.replicate(np.int32(ticks), run.devices))
  skipped = int(shared.learner.skipped)
  if skipped > run.config.skip_nonfinite:
    raise ConfigError(
      f"--skip_nonfinite={run.config.skip_nonfinite}: this run has skipped {skipped} gradient "
      f"steps already; use --skip_nonfinite={skipped} or more."
    )
  print(f"resuming at {saved.env_steps:,} steps", flush=True)
  local, chosen = _restored(run, saved, local, int(shared.ticks))
  return InitialState(State(shared, local), progress, chosen)


def _no_actions(run: Run, ticks: int) -> Actions | None:
  """Where actions are saved: a record of them that begins after so many ticks."""
  if run.config.resume != "exact" or not build.restarts(run.config):
    return None
  own = len(parallel.own(run.devices))
  return actions.none(run.loop.environment.spec, run.loop.ring.rows, ticks, own)


def _restored(
  run: Run, saved: Saved, new: loop.Local, ticks: int
) -> tuple[loop.Local, Actions | None]:
  """The state of each device from a checkpoint, which was saved after so many ticks.

  If the replay was not saved, or has another size now, environments and replay start anew.

  Raises:
    ConfigError: they may not, because of --resume=exact.
  """
  exact = actions.exact(run.config, saved)
  small = dataclasses.replace(new, replay=None)
  if not (saved.fits("replay", new.replay) and saved.fits("local", small)):
    why = (
      "the saved one is of another size or version"
      if saved.has("replay")
      else "--checkpoint.replay would save it"
    )
    if exact:
      raise actions.refused(f"the replay would start empty ({why})")
    print(f"the replay starts empty ({why})", flush=True)
    return new, _no_actions(run, ticks)
  restored = saved.restore(local=small, replay=new.replay)
  local = dataclasses.replace(restored["local"], replay=restored["replay"])
  if not build.restarts(run.config):
    return local, None
  if exact:
    return local, _played_again(run, saved, local.replay, ticks)
  # The state of these environments cannot be saved: new episodes start, and the unfinished ones in
  # the replay are marked as truncated.
  cut = jax.jit(jax.vmap(run.loop.ring.cut), donate_argnums=0)
  placing = jax.tree.map(lambda x: x.sharding, local.actor)
  fresh = jax.jit(jax.vmap(restarted), out_shardings=placing)(local.actor, new.actor.env)
  local = dataclasses.replace(local, actor=fresh, replay=cut(local.replay))
  return local, _no_actions(run, ticks)


def _played_again(run: Run, saved: Saved, replay: Replay, ticks: int) -> Actions:
  """Takes the environments to where they were, by the actions that a checkpoint holds.

  Raises:
    ConfigError: they do not get there: they show other frames than `replay` has.
  """
  environment, ring = run.loop.environment, run.loop.ring
  assert isinstance(environment, EnvPool)
  found = actions.restored(saved, environment.spec, ring.rows, ticks, run.devices)
  newest = jax.jit(jax.vmap(ring.last_frames), out_shardings=parallel.divided(run.devices))(replay)
  shown = actions.play(environment, found.chosen)
  if not np.array_equal(shown, parallel.parts(newest), equal_nan=True):
    raise actions.refused(
      "the environments took another course than in the run, so their versions or settings differ"
    )
  return found
