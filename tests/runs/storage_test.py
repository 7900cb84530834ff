"""What orbax leaves behind, and whether its next version can read it."""

import importlib
import threading
import time

import jax
import jax.numpy as jnp
import pytest

from muzero_jax.runs import storage


def test_drafts_are_deleted_although_files_still_appear_in_them(tmp_path):
  """As when a disk is full: orbax gives up, while other arrays are still being written."""
  draft = tmp_path / "512.orbax-checkpoint-tmp"
  until = time.monotonic() + 0.5

  def write():
    number = 0
    while time.monotonic() < until:
      number += 1
      try:
        (draft / "learner").mkdir(parents=True, exist_ok=True)
        (draft / "learner" / str(number)).write_bytes(bytes(10))
      except FileNotFoundError:  # deleted meanwhile
        pass

  draft.mkdir()
  writer = threading.Thread(target=write)
  writer.start()
  storage.discard_drafts(tmp_path)
  writer.join()
  assert not storage.drafts(tmp_path)


def test_the_next_api_of_orbax_reads_what_is_saved(tmp_path):
  """`storage` saves with the API that orbax 1.0 will replace; runs of today stay readable."""
  api = "orbax.checkpoint.experimental.v1"
  try:
    orbax = importlib.import_module(api)
  except ImportError:
    pytest.skip(f"this version of orbax has no {api}")
  tree = {"params": {"w": jnp.arange(6.0).reshape(2, 3)}, "step": jnp.int32(7)}
  if not hasattr(orbax, "load"):
    pytest.skip(f"{api} of this version of orbax has no load")
  writer = storage.Writer(tmp_path, 1)
  writer.save(3, {"env_steps": 3}, learner=tree)
  writer.close()
  shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)
  found = orbax.load(tmp_path / "3", shapes, checkpointable_name="learner")
  assert jax.tree.all(jax.tree.map(lambda a, b: a.dtype == b.dtype and (a == b).all(), tree, found))


def test_a_checkpoint_that_orbax_does_not_write_is_an_error(tmp_path):
  """It writes none of fewer steps than the newest, and only says so by what it returns."""
  writer = storage.Writer(tmp_path, keep=2)
  writer.save(512, {}, learner={"x": jnp.zeros(2)})
  with pytest.raises(OSError, match="one of more steps"):
    writer.save(256, {}, learner={"x": jnp.zeros(2)})
  writer.close()
  assert [x.name for x in tmp_path.iterdir()] == ["512"]
