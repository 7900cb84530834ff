"""Runs whose disk is full or whose folder goes away or is read-only; and signals in evaluations."""

import errno
import gc
import os
import pathlib
import shutil
import signal
import subprocess
from collections.abc import Callable

import pytest

from launch import cli
from launch import evaluate as command
from muzero_jax import train
from muzero_jax.config import StorageError
from muzero_jax.evaluation.scoring import Scoring
from muzero_jax.runs import jsonl, restore
from muzero_jax.runs.checkpoint import Checkpoints
from muzero_jax.runs.metrics import Reporter

SHORT = dict(evaluation__episodes=0, evaluation__random_episodes=0)


def latest(folder) -> int:
  with Checkpoints(folder, read_only=True) as checkpoints:
    return checkpoints.latest() or 0


def steps(folder) -> list[int]:
  return [row["env_steps"] for row in jsonl.read(folder / "metrics.jsonl")]


@pytest.fixture
def mount():
  """Mounts something on a folder, and returns what unmounts it; needs the right to do so."""
  places = []

  def unmount(place: pathlib.Path) -> None:
    subprocess.run(["umount", str(place)], check=True)
    places.remove(place)

  def mounted(place: pathlib.Path, *words: str) -> Callable[[], None]:
    call = ["mount", *words, str(place)]
    if not shutil.which("mount") or subprocess.run(call, capture_output=True).returncode:
      pytest.skip("no file system can be mounted here")
    places.append(place)
    return lambda: unmount(place)

  yield mounted
  for place in reversed(list(places)):
    unmount(place)


@pytest.fixture
def disk(tmp_path, mount):
  """A file system of 3 MiB."""
  mount(tmp_path, "-t", "tmpfs", "-o", "size=3m", "tmpfs")
  return tmp_path


def read_only(mount, place: pathlib.Path) -> Callable[[], None]:
  """Makes a folder read-only, for root, too; returns what undoes it."""
  return mount(place, "--bind", "-o", "ro", str(place))


def fill(disk: pathlib.Path) -> pathlib.Path:
  """A file that takes all space that is left."""
  with open(disk / "filler", "wb", buffering=0) as file:
    try:
      while file.write(bytes(4096)):
        pass
    except OSError:
      pass
  return disk / "filler"


def after_row(monkeypatch, number: int, action) -> None:
  """Calls `action` after a run has written so many rows of metrics."""
  write, rows = Reporter.write, []

  def counting(reporter):
    rows.append(write(reporter))
    if len(rows) == number:
      action()
    return rows[-1]

  monkeypatch.setattr(Reporter, "write", counting)


def test_a_full_disk(disk, make_config, monkeypatch, capsys):
  """Full from the first row on: training goes to its end, the score is printed, one sentence says
  what is lost. With room again, the same command does what is missing.
  """
  folder = disk / "run"
  config = make_config(folder, save_every=256, evaluation__random_episodes=0)
  after_row(monkeypatch, 1, lambda: fill(disk))
  with pytest.raises(StorageError) as caught:
    train.train(config)
  said = capsys.readouterr().out
  assert "\n" not in str(caught.value) and "No space left on device" in str(caught.value)
  for what in ("checkpoint at 256 steps cannot be saved", "evaluations.jsonl cannot be written"):
    assert said.count(what) == 1
  assert "trained player: mean" in said and latest(folder) == 0
  assert not list((folder / "checkpoints").glob("*tmp*"))
  (disk / "filler").unlink()
  assert train.train(config) == 0
  assert steps(folder) == [128, 256, 384, 512] and latest(folder) == 512


def test_a_disk_that_is_full_for_a_while(disk, make_config, monkeypatch, capsys):
  """Nothing is lost but the checkpoint between."""
  after_row(monkeypatch, 1, lambda: fill(disk))
  after_row(monkeypatch, 3, (disk / "filler").unlink)
  assert train.train(make_config(disk / "run", save_every=256, **SHORT)) == 0
  assert steps(disk / "run") == [128, 256, 384, 512] and latest(disk / "run") == 512
  assert "the checkpoint at 256 steps cannot be saved" in capsys.readouterr().out


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_the_older_checkpoint_is_kept(how, disk, mount, make_config, monkeypatch, capsys, caplog):
  """From the second row on no checkpoint can be written: training goes to its end, and one sentence
  says why, without the tracebacks that asyncio logs when it forgets what orbax has begun. The one
  before can be used, and the same command goes on from it once there is room.
  """
  folder, undo = disk / "run", []
  reason = {"full": "No space left on device", "read-only": "Read-only file system"}[how]

  def spoil():
    if how == "full":
      undo.append(fill(disk).unlink)
    else:
      undo.append(read_only(mount, folder / "checkpoints"))

  config = make_config(folder, save_every=128, **SHORT)
  with monkeypatch.context() as context:
    after_row(context, 2, spoil)
    assert cli.ended(lambda _: train.train(config)) == 1
  said, error = capsys.readouterr()
  for steps_done in (256, 384, 512):
    text = f"the checkpoint at {steps_done} steps cannot be saved in {folder} ({reason})"
    assert said.count(text) == 1
  assert error.startswith("error: ") and error.count("\n") == 1 and reason in error
  gc.collect()
  assert not caplog.records
  assert latest(folder) == 128 and restore.restore(str(folder)).env_steps == 128
  undo[0]()
  assert train.train(config) == 0
  assert "resuming at 128 steps" in capsys.readouterr().out
  assert steps(folder) == [128, 256, 384, 512] and latest(folder) == 512


def test_a_folder_that_is_read_only_from_the_start(tmp_path, mount, make_config, capsys):
  """Be it the run's, or the one that it would be made in."""
  read_only(mount, tmp_path)
  for folder in (tmp_path, tmp_path / "run"):
    assert cli.ended(lambda _, folder=folder: train.train(make_config(folder))) == 2
    reason = f"--workdir={folder}: cannot be written (Read-only file system); name another folder."
    assert capsys.readouterr().err == f"error: {reason}\n"


def test_a_folder_that_goes_away(tmp_path, make_config, monkeypatch, capsys):
  folder = tmp_path / "run"
  after_row(monkeypatch, 2, lambda: shutil.rmtree(folder))
  assert train.train(make_config(folder, save_every=384, **SHORT)) == 0
  said = capsys.readouterr().out
  assert said.count("was emptied or removed; it is made anew") == 1
  assert steps(folder) == [384, 512] and latest(folder) == 512
  assert (folder / "config.json").exists() and (folder / "report.html").exists()


def test_a_signal_ends_an_evaluation_and_the_score_is_printed_before_it_is_written(
  tmp_path, make_config, monkeypatch, capsys
):
  """What the evaluation would have scored is not kept; the run is saved and resumes."""
  config = make_config(tmp_path, evaluate_every=256, **SHORT | {"evaluation__episodes": 2})
  evaluate = Scoring.evaluate

  def interrupted(*words):
    assert latest(tmp_path) == 256  # saved before
    signal.raise_signal(signal.SIGTERM)
    return evaluate(*words)

  with monkeypatch.context() as context:
    context.setattr(Scoring, "evaluate", interrupted)
    assert train.train(config) == 128 + signal.SIGTERM
  assert "stopped at 256 steps" in capsys.readouterr().out
  assert not (tmp_path / "evaluations.jsonl").exists()
  assert train.train(config) == 0
  assert "resuming at 256 steps" in capsys.readouterr().out

  def read_only(*_):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))

  monkeypatch.setattr(jsonl, "append", read_only)
  monkeypatch.setattr(cli, "use_devices", lambda count: None)
  with pytest.raises(StorageError, match=r"could not be appended to .* \(Read-only file system\)"):
    command.main(["evaluate", f"--workdir={tmp_path}", "--episodes=2"])
  assert "of 2 episodes" in capsys.readouterr().out
