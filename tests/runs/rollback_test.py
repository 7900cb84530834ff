"""What a run forgets when it goes on from an earlier checkpoint."""

from muzero_jax.runs import jsonl, rollback


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
