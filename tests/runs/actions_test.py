"""The actions of a run, from the replay to a checkpoint and back."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax import actor, rules
from muzero_jax.config import ConfigError
from muzero_jax.device import parallel
from muzero_jax.envs.base import Spec
from muzero_jax.loop import Local
from muzero_jax.replay.frames import Ring
from muzero_jax.runs import actions
from muzero_jax.runs.checkpoint import Checkpoints
from muzero_jax.runs.saved import Saved
from tests import builders

SPEC = Spec(num_envs=1, num_actions=300, frame_shape=(1,))
ROWS = 5
RING = Ring(ROWS, 1, 300, (1,), stack=1, unroll=1, window=3)


@jax.jit
def acted(player, replay, action):
  """A tick: a step is stored with the decision before it, and an action is chosen."""
  time = builders.time_step(1, frame=np.zeros((1, 1), np.uint8))
  replay = RING.add(replay, player.decision, time, jnp.int32(0))
  decision = dataclasses.replace(player.decision, action=action[None])
  return dataclasses.replace(player, decision=decision), replay


def state(chosen: list[int]) -> Local:
  """One device with one environment, after ticks in which these actions were chosen."""
  player, replay = actor.new_actor(jnp.zeros(8, jnp.uint8), 1, 300), RING.init()
  for action in chosen:
    player, replay = acted(player, replay, jnp.int32(action))
  local = Local(player, replay, jax.random.key(0), jnp.zeros(()))
  return parallel.split(jax.tree.map(lambda x: x[None], local), parallel.mesh(jax.devices()[:1]))


def test_they_are_taken_from_the_ring_before_it_overwrites_them():
  """Five rows: after 3 ticks the third action is still the actor's, and after 8 the oldest row that
  is needed, the fourth, is the oldest one there is.
  """
  log, chosen = actions.none(SPEC, ROWS, 0, 1), [7, 299, 3, 4, 5, 6, 2, 1]
  assert log.limit == 5
  log.collect(state(chosen[:3]), 3)
  assert log.chosen[0, :, 0].tolist() == [7, 299, 3] and log.limit == 8
  log.collect(state(chosen), 8)
  log.collect(state(chosen), 8)  # nothing new
  assert log.chosen[0, :, 0].tolist() == chosen and log.limit == 13
  with pytest.raises(AssertionError, match="overwritten"):
    log.collect(state(chosen), 14)


def test_a_byte_is_enough_where_it_is():
  assert actions.none(SPEC, ROWS, 0, 1).chosen.dtype == np.uint16
  atari = dataclasses.replace(SPEC, num_actions=18)
  assert actions.none(atari, ROWS, 0, 1).chosen.dtype == np.uint8


def test_a_checkpoint_holds_them_for_all_devices(tmp_path):
  devices = parallel.mesh(jax.devices()[:2])
  log = actions.Actions(SPEC, ROWS, 3, np.array([[[1], [2], [299]], [[4], [5], [6]]]))
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(
      6, {"begun": 0}, {"x": jnp.ones(1)}, {"x": jnp.ones(1)}, None, log.tree(devices)
    )
  saved = Saved(tmp_path / "checkpoints" / "6")
  found = actions.restored(saved, SPEC, ROWS, 3, devices)
  np.testing.assert_array_equal(found.chosen, log.chosen)
  assert found.chosen.dtype == np.uint16 and found.limit == 8
  more = dataclasses.replace(SPEC, num_envs=2)
  with pytest.raises(ConfigError, match=r"another number of environments.*--resume=episodes"):
    actions.restored(saved, more, ROWS, 3, devices)


def test_exact_needs_what_was_saved(tmp_path):
  """Without actions it is refused, unless new episodes may start; games in JAX need the replay."""
  (tmp_path / "40" / "replay").mkdir(parents=True)
  saved = Saved(tmp_path / "40")
  exact = dict(resume="exact", checkpoint__replay=True)
  assert not actions.exact(builders.config(), saved)
  assert actions.exact(builders.config(env__kind="catch", **exact), saved)
  with pytest.raises(ConfigError, match=r"at 40 steps holds no actions.*--resume=episodes"):
    actions.exact(builders.config(**exact), saved)
  again = builders.config(**exact, override_config=True)
  assert not actions.exact(again, saved) and actions.begun(again, saved) == 40


def test_exact_without_the_replay_is_refused():
  with pytest.raises(ConfigError, match=r"--checkpoint\.replay"):
    rules.check(builders.config(resume="exact"))
