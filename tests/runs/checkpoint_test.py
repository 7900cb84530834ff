"""Checkpoints of earlier versions, and those whose write in the background fails."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from muzero_jax.config import ConfigError, DivergedError, StorageError
from muzero_jax.learner import no_statistics
from muzero_jax.loop import Shared
from muzero_jax.runs.checkpoint import Checkpoints
from muzero_jax.types import LearnerState, record
from tests import background


@record
class OldState:
  """`LearnerState` as it was before it had statistics and `skipped`."""

  params: Any
  target_params: Any
  opt_state: Any
  step: Any


def old_shared(**params) -> Shared:
  params = {"model": {"w": jnp.arange(3.0)} | params}
  state = OldState(
    params, {"w": jnp.ones(3)}, (jnp.zeros(2), {"mu": jnp.full(2, 5.0)}), jnp.int32(7)
  )
  return Shared(state, jnp.int32(11))


def new_shared() -> Shared:
  shared = jax.tree.map(jnp.zeros_like, old_shared())
  old = {field.name: getattr(shared.learner, field.name) for field in dataclasses.fields(OldState)}
  statistics = jax.tree.map(lambda x: x + 3, no_statistics())
  return Shared(LearnerState(**old, statistics=statistics, skipped=jnp.int32(2)), shared.ticks)


def saved(tmp_path, shared: Shared) -> Checkpoints:
  checkpoints = Checkpoints(tmp_path)
  checkpoints.save(1, {"seconds": 0.0, "pending": {}}, shared, {"key": jnp.zeros(1)})
  return checkpoints


def learner(checkpoints: Checkpoints) -> Shared:
  """The learner's item of the newest checkpoint."""
  found = checkpoints.load(lambda saved: saved.restore(learner=new_shared())["learner"])
  assert found is not None
  return found


def test_a_checkpoint_of_an_earlier_version_opens(tmp_path):
  """What it holds is restored, what it lacks starts as given."""
  with saved(tmp_path, old_shared()) as checkpoints:
    found = learner(checkpoints)
  assert isinstance(found.learner, LearnerState)
  assert found.learner.params["model"]["w"].tolist() == [0, 1, 2]
  assert found.learner.opt_state[1]["mu"].tolist() == [5, 5]
  assert (int(found.learner.step), int(found.ticks)) == (7, 11)
  assert (float(found.learner.statistics.errors), int(found.learner.skipped)) == (3, 2)


def test_one_of_another_network_does_not(tmp_path):
  with (
    saved(tmp_path, old_shared(extra=jnp.zeros(2))) as checkpoints,
    pytest.raises(ConfigError, match="does not fit"),
  ):
    learner(checkpoints)


def save(checkpoints: Checkpoints, *steps: int) -> None:
  for step in steps:
    checkpoints.save(step, {}, old_shared(), {"key": jnp.zeros(1)})


def test_a_write_that_failed_in_the_background_is_one_sentence(tmp_path, monkeypatch):
  background.failing(monkeypatch, 20)
  with (
    pytest.raises(
      StorageError,
      match=r"^the checkpoint at 20 steps cannot .* \(No space left on "
      r"device\): make room, .* it goes on from 10 steps\.$",
    ),
    Checkpoints(tmp_path) as checkpoints,
  ):
    save(checkpoints, 10, 20)
  assert checkpoints.steps() == [10]


def test_it_does_not_replace_what_ends_the_run(tmp_path, monkeypatch, capsys):
  background.failing(monkeypatch, 10)
  with pytest.raises(DivergedError), Checkpoints(tmp_path) as checkpoints:
    save(checkpoints, 10)
    raise DivergedError("a loss is no number")
  said = capsys.readouterr().out
  assert said.startswith("warning: the checkpoint at 10 steps cannot be saved")
  assert said.endswith("with --override_config: it begins anew.\n") and said.count("\n") == 1
