"""Checkpoints that were damaged after they had been saved: the one before is used."""

import hashlib
import json
import math
import os
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muzero_jax.config import ConfigError
from muzero_jax.diagnostics import derived
from muzero_jax.runs import digest, jsonl, metrics
from muzero_jax.runs.checkpoint import Checkpoints
from muzero_jax.runs.saved import Damaged, Saved
from tests import fuzz


def state(step: int) -> dict[str, dict]:
  """What is saved at a step: every array says which step it is of."""
  return {
    "learner": {"params": {"w": jnp.full((4, 4), float(step)), "b": jnp.arange(3.0) + step}},
    "local": {"key": jax.random.key(step)},
    "replay": {"frame": jnp.full(50, step, jnp.uint8)},
  }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
  """A folder with checkpoints of steps 10 and 20."""
  folder = tmp_path_factory.mktemp("whole")
  with Checkpoints(folder) as checkpoints:
    for step in (10, 20):
      checkpoints.save(step, {"ticks": step, "seconds": 0.5, "pending": {}}, **state(step))
  return folder


@pytest.fixture
def folder(whole, tmp_path):
  """A copy of `whole`."""
  shutil.copytree(whole / "checkpoints", tmp_path / "checkpoints")
  return tmp_path


def everything(saved: Saved) -> int:
  """Restores all of a checkpoint, checks that it is all of one step, and returns that."""
  step = saved.progress()["ticks"]
  found = saved.restore(**state(0))
  for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(state(step)), strict=True):
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
      x, y = jax.random.key_data(x), jax.random.key_data(y)
    np.testing.assert_array_equal(x, y)
  assert saved.env_steps == step
  return step


def truncate(path: pathlib.Path) -> None:
  os.truncate(path, path.stat().st_size // 2)


def flip(path: pathlib.Path) -> None:
  """Flips one bit in the middle of a file."""
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 1
  path.write_bytes(data)


def files(folder: pathlib.Path) -> list[str]:
  """The files of a checkpoint, relative to its folder."""
  return sorted(str(x.relative_to(folder)) for x in folder.rglob("*") if x.is_file())


@pytest.mark.parametrize("damage", [truncate, pathlib.Path.unlink, flip], ids=lambda f: f.__name__)
def test_every_file_in_turn(whole, tmp_path, capsys, damage):
  """Damaged in any file, the newest one is set aside, with a line that names it and the file. The
  digests themselves may be missing, as they are in earlier versions.
  """
  newest = whole / "checkpoints" / "20"
  names = [name for name in files(newest) if (newest / name).stat().st_size]
  assert len(names) > 20
  for i, name in enumerate(names):
    folder = tmp_path / str(i)
    shutil.copytree(whole / "checkpoints", folder / "checkpoints")
    damage(folder / "checkpoints" / "20" / name)
    found = Checkpoints(folder).load(everything)
    said = capsys.readouterr().out
    if name == digest.NAME and damage is pathlib.Path.unlink:
      assert found == 20 and not said
      continue
    assert found == 10, name
    assert said.count("\n") == 1 and "20 is damaged (" in said and "using 10" in said
    assert name in said or name == digest.NAME  # a digest that was changed blames its file
    assert Checkpoints(folder).steps() == [10]
    assert (folder / "damaged" / "20").is_dir()


@pytest.mark.parametrize("damage", [truncate, pathlib.Path.unlink], ids=lambda f: f.__name__)
def test_every_file_in_turn_without_digests(whole, tmp_path, damage):
  """In a checkpoint of an earlier version, a file that is cut or missing is noticed when it is read
  - or makes no difference to what is read.
  """
  noticed = 0
  for i, name in enumerate(files(whole / "checkpoints" / "20")):
    folder = tmp_path / str(i)
    shutil.copytree(whole / "checkpoints", folder / "checkpoints")
    (folder / "checkpoints" / "20" / digest.NAME).unlink()
    path = folder / "checkpoints" / "20" / name
    if path.exists() and path.stat().st_size:
      damage(path)
      noticed += Checkpoints(folder).load(everything) == 10
  assert noticed >= 8


def test_without_digests_it_opens(folder, capsys):
  (folder / "checkpoints" / "20" / digest.NAME).unlink()
  assert Checkpoints(folder).load(everything) == 20
  assert not capsys.readouterr().out


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_checkpoint_is_set_aside(folder, capsys, kind):
  """An empty folder or a file with a number for a name; afterwards steps below it are saved."""
  stray = folder / "checkpoints" / "99999999"
  stray.mkdir() if kind == "folder" else stray.write_text("")
  with Checkpoints(folder) as checkpoints:
    assert checkpoints.load(everything) == 20
    checkpoints.save(30, {"ticks": 30, "seconds": 1.0, "pending": {}}, **state(30))
  assert "99999999 is damaged (there is no learner in it) and was moved" in capsys.readouterr().out
  assert Checkpoints(folder).steps() == [30, 20]
  assert Checkpoints(folder).load(everything) == 30


def test_a_reader_changes_nothing(folder, capsys):
  """Where a run may be training, or in a folder that cannot be written: the damaged one stays."""
  flip(folder / "checkpoints" / "20" / "learner" / "_METADATA")
  before = files(folder)
  assert Checkpoints(folder, read_only=True).load(everything) == 10
  assert capsys.readouterr().out.count("is skipped; using 10\n") == 1
  assert Checkpoints(folder, read_only=True).load(everything, quiet=True) == 10
  assert not capsys.readouterr().out
  assert files(folder) == before


def test_a_reader_of_the_parameters_does_not_care_about_the_replay(folder):
  (folder / "checkpoints" / "20" / "replay" / "_METADATA").unlink()

  def read(saved):
    return saved.restore(learner=state(0)["learner"])["learner"]["params"]["b"].tolist()

  assert Checkpoints(folder, read_only=True).load(read, items=("learner",)) == [20, 21, 22]
  assert Checkpoints(folder, read_only=True).load(read) == [10, 11, 12]


def test_where_none_is_left_nothing_is_moved(folder, capsys):
  """One sentence, the next time as well: a run must not start anew over the old one's files."""
  flip(folder / "checkpoints" / "20" / "learner" / "_METADATA")
  shutil.rmtree(folder / "checkpoints" / "10" / "learner")
  before = files(folder)
  for _ in range(2):
    with pytest.raises(ConfigError, match=r"none of the checkpoints can be used \(20: .*; 10: "):
      Checkpoints(folder).load(everything)
  assert files(folder) == before
  assert not capsys.readouterr().out


def test_no_checkpoints(tmp_path):
  assert Checkpoints(tmp_path).load(everything) is None
  (tmp_path / "checkpoints").write_text("")
  with pytest.raises(ConfigError, match="checkpoints: cannot be read"):
    Checkpoints(tmp_path).load(everything)


def test_a_newer_one_is_read_where_the_newest_is_deleted_meanwhile(folder, capsys):
  """A run deletes 10 and 20 while 20 is being read, and saves 30: all that is read is of 30."""
  calls = []

  def read(saved):
    calls.append(saved.env_steps)
    if len(calls) == 1:
      with Checkpoints(folder, keep=1) as training:
        training.save(30, {"ticks": 30, "seconds": 1.0, "pending": {}}, **state(30))
    return everything(saved)

  assert Checkpoints(folder, read_only=True).load(read) == 30
  assert calls == [20, 30] and not capsys.readouterr().out


def test_an_error_that_is_not_damage_is_passed_on(folder):
  """A mistake elsewhere must not set good checkpoints aside."""

  def read(saved):
    saved.restore(learner={"params": {"w": object(), "b": 1}})

  with pytest.raises(Exception) as caught:
    Checkpoints(folder).load(read)
  assert not isinstance(caught.value, ConfigError | Damaged)
  assert Checkpoints(folder).steps() == [20, 10]


def test_digests(tmp_path):
  """They name what is missing or changed, in all or in some subfolders."""
  (tmp_path / "a").mkdir()
  (tmp_path / "a" / "one").write_text("1")
  (tmp_path / "two").write_text("2")
  assert digest.flaw(tmp_path) == "" and not digest.exists(tmp_path)
  digest.write(tmp_path)
  assert digest.exists(tmp_path) and digest.flaw(tmp_path) == ""
  (tmp_path / "two").write_text("3")
  assert digest.flaw(tmp_path) == "two has changed since it was saved"
  assert digest.flaw(tmp_path, ("a",)) == ""
  (tmp_path / "a" / "one").unlink()
  assert digest.flaw(tmp_path, ("a",)) == "a/one is missing"
  for text in ("", "[]", '{"sha256": 1}', '{"sha256": {"two": null, "\\u0000": 2}}', "[" * 99_999):
    (tmp_path / digest.NAME).write_text(text)
    assert digest.flaw(tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_only_files_are_read(folder, make):
  """Reading a pipe would wait for ever; /dev/zero has no end."""
  newest = folder / "checkpoints" / "20"
  (newest / digest.NAME).unlink()
  make(newest / digest.NAME)
  assert digest.flaw(newest) == f"{digest.NAME} is not a file"
  (newest / digest.NAME).unlink()
  (newest / "progress" / "metadata").unlink()
  make(newest / "progress" / "metadata")
  with pytest.raises(Damaged, match="its progress cannot be read: it is not a file"):
    Saved(newest).progress()


@pytest.mark.parametrize("name", ["a/../../secret", "../secret", "/dev/zero", "a/link", "linked/x"])
def test_nothing_outside_the_folder_is_read(name, tmp_path):
  """Neither by a path that leaves it, nor through a symbolic link."""
  folder = tmp_path / "checkpoint"
  (folder / "a").mkdir(parents=True)
  (tmp_path / "secret").write_text("s")
  (tmp_path / "other").mkdir()
  (tmp_path / "other" / "x").write_text("s")
  (folder / "a" / "link").symlink_to(tmp_path / "secret")
  (folder / "linked").symlink_to(tmp_path / "other")
  secret = hashlib.sha256(b"s").hexdigest()
  (folder / digest.NAME).write_text(json.dumps({"sha256": {name: secret}}))
  assert digest.flaw(folder) == f"{name} is missing"


PROGRESS = {"ticks": 20, "begun": 4, "seconds": 0.5, "pending": {"loss/total": [2.0, 1.0]}}


def forge(checkpoint: pathlib.Path, content: bytes) -> None:
  """Writes another `progress` into a checkpoint, with digests that fit."""
  (checkpoint / "progress" / "metadata").write_bytes(content)
  (checkpoint / digest.NAME).unlink(missing_ok=True)
  digest.write(checkpoint)


@pytest.mark.parametrize(
  "change",
  [
    {"begun": "soon"},
    {"begun": None},
    {"begun": -1},
    {"begun": 21},  # after the checkpoint
    {"begun": True},
    {"ticks": 0.5},
    {"seconds": math.inf},
    {"seconds": math.nan},
    {"seconds": -1.0},
    {"seconds": 9.999999e11},  # a row would round it to what is unreadable
    {"seconds": "1"},
    {"pending": []},
    {"pending": {"loss/total": 1.0}},
    {"pending": {"loss/total": [1.0]}},
    {"pending": {"loss/total": [1.0, "1"]}},
    {"pending": {"loss/total": [1e99, 1e-9]}},
    {"pending": {"seconds": [math.inf, 1.0]}},  # would replace that of a row
    {"pending": {"\ud800": [1.0, 1.0]}},
  ],
  ids=repr,
)
def test_progress_that_no_run_saves_is_damage(folder, capsys, change):
  forge(folder / "checkpoints" / "20", json.dumps(PROGRESS | change).encode())
  assert Checkpoints(folder).load(everything) == 10
  assert "20 is damaged (its progress " in capsys.readouterr().out


def test_progress_has_what_a_run_needs(folder):
  """Where the environments were seeded, only beside actions, which count from there; sums of
  metrics may be what float32s can be.
  """
  newest = folder / "checkpoints" / "20"
  sums = {"a/nan": [math.nan, 1.0], "a/inf": [-math.inf, math.nan], "a/small": [1e-45, 3e38]}
  forge(newest, json.dumps(PROGRESS | {"pending": sums}).encode())
  assert set(Saved(newest).progress()["pending"]) == set(sums)
  for name in ("begun", "seconds", "pending"):
    forge(newest, json.dumps({key: x for key, x in PROGRESS.items() if key != name}).encode())
    (newest / "actions").mkdir(exist_ok=True)
    with pytest.raises(Damaged, match=f"its progress has no {name}"):
      Saved(newest).progress()
    (newest / "actions").rmdir()
  forge(newest, json.dumps({"seconds": 1, "pending": {}}).encode())
  assert Saved(newest).progress() == {"seconds": 1.0, "pending": {}}


@pytest.mark.parametrize("digests", [True, False])
@pytest.mark.parametrize("name", ["", "learner", "learner/_METADATA", "local/more"])
def test_no_link_is_followed(folder, capsys, name, digests):
  """Neither in place of a checkpoint nor of what is in it, whose contents would pass; a further one
  counts as well, whatever items are asked for.
  """
  place = folder / "checkpoints" / "20" / name
  if not digests:
    (folder / "checkpoints" / "20" / digest.NAME).unlink()
  elsewhere = folder / "elsewhere"
  place.rename(elsewhere) if place.exists() else elsewhere.write_text("")
  place.symlink_to(elsewhere)
  read_only = Checkpoints(folder, read_only=True)
  assert read_only.load(lambda saved: saved.env_steps, items=("learner",)) == 10
  assert f"20 is damaged ({name or 'it'} is a symbolic link)" in capsys.readouterr().out
  assert Checkpoints(folder).load(everything) == 10
  assert elsewhere.exists()


def test_no_pipe_is_read(folder):
  os.mkfifo(folder / "checkpoints" / "20" / "learner" / "pipe")
  assert Checkpoints(folder).load(everything) == 10


@fuzz.fuzz
@given(
  st.one_of(
    fuzz.lines(PROGRESS),
    st.dictionaries(st.sampled_from(["a/b", "mean", "seconds"]), st.lists(fuzz.SCALARS)).map(
      lambda pending: json.dumps(PROGRESS | {"pending": pending}).encode()
    ),
  ),
  st.booleans(),
)
def test_whatever_stands_in_progress(tmp_path, content, actions):
  """It is damage, or rows of metrics that can be read again are made from it."""
  checkpoint = tmp_path / "20"
  shutil.rmtree(checkpoint, ignore_errors=True)
  for item in ("progress", *["actions"] * actions):
    (checkpoint / item).mkdir(parents=True)
  forge(checkpoint, content)
  try:
    found = Saved(checkpoint).progress()
  except Damaged:
    return
  assert 0 <= found.get("begun", 0) <= 20
  row = {"env_steps": 20, "seconds": found["seconds"], **metrics.means(found["pending"])}
  assert jsonl.parsed(json.dumps(row | derived(found["pending"])).encode()) is not None


@fuzz.fuzz
@given(fuzz.VALUES, st.booleans())
def test_whatever_stands_in_the_digests(tmp_path, value, inside):
  (tmp_path / "two").write_text("2")
  (tmp_path / digest.NAME).write_text(json.dumps({"sha256": value} if inside else value))
  assert digest.flaw(tmp_path) or (inside and value == {})
