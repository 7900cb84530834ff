"""Runs whose disk is full or whose folder goes away or is read-only; and signals in evaluations."""

import errno
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from launch import cli
from launch import evaluate as command
from launch import train as command_of_training
from muzero_jax import config as configs
from muzero_jax import train
from muzero_jax.config import DivergedError, StorageError
from muzero_jax.evaluation.scoring import Scoring
from muzero_jax.runs import jsonl, restore
from muzero_jax.runs.checkpoint import Checkpoints
from muzero_jax.runs.metrics import Reporter
from tests import background

ROOT = pathlib.Path(__file__).parents[2]
SHORT = dict(evaluation__episodes=0, evaluation__random_episodes=0)


def newest(folder) -> int:
  with Checkpoints(folder, read_only=True) as checkpoints:
    return checkpoints.newest() or 0


def steps(folder) -> list[int]:
  return [row["env_steps"] for row in jsonl.read(folder / "metrics.jsonl")]


@pytest.fixture
def mount(tmp_path):
  """Mounts something in the test's folder, until the test is over; needs the right to do so."""

  def mounted(place: pathlib.Path, *words: str) -> None:
    call = ["mount", *words, str(place)]
    if not shutil.which("mount") or subprocess.run(call, capture_output=True).returncode:
      pytest.skip("no file system can be mounted here")

  yield mounted
  if os.path.exists("/proc/mounts"):
    places = [line.split()[1] for line in open("/proc/mounts")]
    for place in reversed([place for place in places if place.startswith(str(tmp_path))]):
      subprocess.run(["umount", place], check=True)


@pytest.fixture
def disk(tmp_path, mount):
  """A file system of 3 MiB."""
  mount(tmp_path, "-t", "tmpfs", "-o", "size=3m", "tmpfs")
  return tmp_path


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
  assert "trained player: mean" in said and newest(folder) == 0
  assert not list((folder / "checkpoints").glob("*tmp*"))
  (disk / "filler").unlink()
  assert train.train(config) == 0
  assert steps(folder) == [128, 256, 384, 512] and newest(folder) == 512


@pytest.mark.parametrize("waits", [True, False])
def test_a_disk_that_is_full_for_a_while(waits, disk, make_config, monkeypatch, capsys):
  """Nothing is lost but the checkpoint between, whether or not training waits for each write."""
  if not waits:
    background.unawaited(monkeypatch)
  after_row(monkeypatch, 1, lambda: fill(disk))
  after_row(monkeypatch, 3, (disk / "filler").unlink)
  assert train.train(make_config(disk / "run", save_every=256, **SHORT)) == 0
  assert steps(disk / "run") == [128, 256, 384, 512] and newest(disk / "run") == 512
  said = capsys.readouterr().out
  assert said.count("cannot be saved") == 1
  assert "the checkpoint at 256 steps cannot be saved" in said and "(No space left" in said


def test_at_a_signal_there_is_room_again(tmp_path, make_config, monkeypatch, capsys):
  """The write of the checkpoint before has failed meanwhile; where the run stops, it is saved."""
  background.failing(monkeypatch, 256)
  after_row(monkeypatch, 3, lambda: signal.raise_signal(signal.SIGTERM))
  assert train.train(make_config(tmp_path, save_every=256, **SHORT)) == 128 + signal.SIGTERM
  said = capsys.readouterr().out
  assert said.count("warning: the checkpoint at 256 steps cannot be saved") == 1
  assert newest(tmp_path) >= 384 and f"stopped at {newest(tmp_path)} steps" in said


def test_a_signal_in_an_evaluation_after_a_write_that_failed(
  tmp_path, make_config, monkeypatch, capsys
):
  """The checkpoint that the evaluation waited for is written again."""
  background.failing(monkeypatch, 256)
  monkeypatch.setattr(Scoring, "evaluate", lambda *_: signal.raise_signal(signal.SIGTERM))
  config = make_config(tmp_path, evaluate_every=256, **SHORT | {"evaluation__episodes": 2})
  assert train.train(config) == 128 + signal.SIGTERM
  said = capsys.readouterr().out
  assert said.count("warning: the checkpoint at 256 steps cannot be saved") == 1
  assert newest(tmp_path) == 256 and "stopped at 256 steps" in said


def interrupted() -> None:
  """`launch.train`, as a process: the checkpoint at 256 steps fails in the background, and in the
  evaluation after it comes SIGTERM.
  """
  patch = pytest.MonkeyPatch()
  background.failing(patch, 256)
  patch.setattr(Scoring, "evaluate", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
  cli.run(command_of_training.main)


def test_a_command_that_ends_in_an_evaluation_says_what_was_not_written(tmp_path, make_config):
  config = make_config(
    tmp_path, save_every=128, evaluate_every=256, **SHORT | {"evaluation__episodes": 2}
  )
  program = "from tests.integration.storage_test import interrupted; interrupted()"
  call = subprocess.run(
    [sys.executable, "-c", program, *configs.as_flags(config)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    timeout=120,
  )
  assert call.returncode == 128 + signal.SIGTERM, call.stdout + call.stderr
  assert call.stderr == (
    f"error: the checkpoint at 256 steps cannot be saved in {tmp_path} (No space left on device): "
    "make room, and run the same command again; it goes on from 128 steps.\n"
  )
  assert "stopped at" not in call.stdout and newest(tmp_path) == 128


def test_a_run_that_diverges_names_a_checkpoint_that_is_there(
  tmp_path, make_config, monkeypatch, capsys
):
  """The write of the one before the first gradient step has failed meanwhile."""
  background.failing(monkeypatch, 128)
  config = make_config(tmp_path, save_every=64, optimizer__warmup=0, **SHORT)
  with pytest.raises(DivergedError, match="The newest checkpoint, of 64 steps"):
    train.train(configs.replace(config, {"optimizer.learning_rate": 1e6}))
  assert "warning: the checkpoint at 128 steps cannot be saved" in capsys.readouterr().out


def spoiled() -> None:
  """`launch.train`, as a process: from the second row of metrics on its disk is full, or the folder
  of its checkpoints is read-only. The first two words of its command line are how, and its folder.
  """
  how, folder = sys.argv.pop(1), pathlib.Path(sys.argv.pop(1))
  place = str(folder / "checkpoints")
  read_only = ["mount", "--bind", "-o", "ro", place, place]

  def spoil():
    fill(folder.parent) if how == "full" else subprocess.run(read_only, check=True)

  after_row(pytest.MonkeyPatch(), 2, spoil)
  cli.run(command_of_training.main)


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_the_older_checkpoint_is_kept(how, disk, make_config, capsys):
  """Training goes to its end, and one sentence says what is missing: no traceback of what orbax and
  asyncio forget, and no waiting for it. The checkpoint before can be used, and the same command
  goes on from it once there is room.
  """
  folder = disk / "run"
  reason = {"full": "No space left on device", "read-only": "Read-only file system"}[how]
  config = make_config(folder, save_every=128, **SHORT)
  program = "from tests.integration.storage_test import spoiled; spoiled()"
  call = subprocess.run(
    [sys.executable, "-c", program, how, folder, *configs.as_flags(config)],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=False,
    timeout=120,
  )
  assert call.returncode == 1, call.stdout + call.stderr
  for done in (256, 384, 512):
    text = f"the checkpoint at {done} steps cannot be saved in {folder} ({reason})"
    assert call.stdout.count(text) == 1
  error = call.stderr
  assert error.startswith("error: ") and error.count("\n") == 1 and reason in error
  assert newest(folder) == 128 and restore.restore(str(folder)).env_steps == 128

  if how == "full":
    (disk / "filler").unlink()
  else:
    subprocess.run(["umount", folder / "checkpoints"], check=True)
  assert train.train(config) == 0
  assert "resuming at 128 steps" in capsys.readouterr().out
  assert steps(folder) == [128, 256, 384, 512] and newest(folder) == 512


def test_a_folder_that_is_read_only_from_the_start(tmp_path, mount, make_config, capsys):
  """Be it the run's, or the one that it would be made in. Root cannot write there, either."""
  mount(tmp_path, "--bind", "-o", "ro", str(tmp_path))
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
  assert steps(folder) == [384, 512] and newest(folder) == 512
  assert (folder / "config.json").exists() and (folder / "report.html").exists()


def test_a_signal_ends_an_evaluation_and_the_score_is_printed_before_it_is_written(
  tmp_path, make_config, monkeypatch, capsys
):
  """What the evaluation would have scored is not kept; the run is saved and resumes."""
  config = make_config(tmp_path, evaluate_every=256, **SHORT | {"evaluation__episodes": 2})
  evaluate = Scoring.evaluate

  def interrupted(*words):
    assert newest(tmp_path) == 256  # saved before
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
