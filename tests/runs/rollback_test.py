"""What a run forgets when it goes on from an earlier checkpoint."""

import pytest

from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError
from muzero_jax.runs import jsonl, rollback


def test_a_run_that_has_lost_its_checkpoints_is_not_begun_anew_unasked(tmp_path):
  """One every 100 steps: at 199 the first one may not have been complete, at 200 it was."""
  config = Config(workdir=str(tmp_path), save_every=100)
  rollback.check_nothing_is_lost(config, tmp_path)
  jsonl.append(tmp_path / "metrics.jsonl", {"env_steps": 199})
  rollback.check_nothing_is_lost(config, tmp_path)
  rollback.check_nothing_is_lost(configs.replace(config, {"save_every": 0}), tmp_path)
  jsonl.append(tmp_path / "metrics.jsonl", {"env_steps": 1200})
  with pytest.raises(ConfigError, match="has done 1,200 steps, and has no checkpoint any more"):
    rollback.check_nothing_is_lost(config, tmp_path)
  rollback.check_nothing_is_lost(configs.replace(config, {"override_config": True}), tmp_path)


def test_rows_and_videos_after_the_checkpoint_are_forgotten(tmp_path):
  (tmp_path / "video").mkdir()
  for steps in (10, 20, 30):
    for name in ("metrics", "evaluations"):
      jsonl.append(tmp_path / f"{name}.jsonl", {"env_steps": steps})
    for kind in ("mp4", "json"):
      (tmp_path / "video" / f"{steps}.{kind}").touch()
  (tmp_path / "video" / "trip.mp4").touch()  # of somebody else
  rollback.forget(tmp_path, 20)
  for name in ("metrics", "evaluations"):
    assert [row["env_steps"] for row in jsonl.read(tmp_path / f"{name}.jsonl")] == [10, 20]
  kept = sorted(path.name for path in (tmp_path / "video").iterdir())
  assert kept == ["10.json", "10.mp4", "20.json", "20.mp4", "trip.mp4"]


def test_videos_behind_a_link_stay(tmp_path):
  """They may be those of other runs, too. A new run has nothing that could be forgotten."""
  (tmp_path / "elsewhere").mkdir()
  (tmp_path / "elsewhere" / "30.mp4").touch()
  (tmp_path / "run").mkdir()
  rollback.forget(tmp_path / "run", 20)
  (tmp_path / "run" / "video").symlink_to(tmp_path / "elsewhere")
  rollback.forget(tmp_path / "run", 20)
  assert (tmp_path / "elsewhere" / "30.mp4").exists()


def test_a_file_without_such_rows_is_not_written(tmp_path):
  """So that a run that is done can be started again on a full disk."""
  path = tmp_path / "metrics.jsonl"
  jsonl.append(path, {"env_steps": 10, "x": 1e-05, "y": float("nan"), "z": 3.0})
  before = path.stat()
  rollback.forget(tmp_path, 10)
  assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
