"""A run's folder: what is read from its config.json, and what may lie in it."""

import errno
import fcntl
import json
import os
import shutil
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError, StorageError
from muzero_jax.runs import history, workdir
from tests import fuzz

SETTINGS = configs.values(Config())


def refusal(folder) -> str:
  """The sentence with which the folder is refused."""
  with pytest.raises(ConfigError) as caught:
    workdir.load(folder)
  assert "\n" not in str(caught.value)
  return str(caught.value)


@pytest.mark.parametrize(
  ("text", "said"),
  [
    (b"", "no run in it (no readable config.json: it is cut off or damaged)"),
    (b'{"config": {"seed": 1', "it is cut off or damaged"),
    (b"\xff", "it is cut off or damaged"),
    (fuzz.DEEP, "it is cut off or damaged"),
    (b"null", "it holds no settings"),
    (b'{"config": []}', "it holds no settings"),
    (b'{"config": {"seed": "1"}}', "--seed='1': must be of type int"),
    (b'{"config": {"seed": true}}', "--seed='True': must be of type int"),
    (b'{"config": {"video": 1}}', "--video='1': must be of type bool"),
    (b'{"config": {"env.task": null}}', "--env.task='None': must be of type str"),
    (b'{"config": {"targets.discount": Infinity}}', "--targets.discount='inf': must be of type"),
    (b'{"config": {"targets.discount": NaN}}', "--targets.discount='nan': must be of type"),
    (b'{"config": {"targets.discount": 7}}', "--targets.discount=7: must be at most 1"),
    (b'{"config": {"env.num_envs": 0}}', "--env.num_envs=0: must be at least 1"),
    (b'{"config": {"search.kind": "alpha"}}', "--search.kind=alpha: must be one of"),
    (b'{"config": {"search.depth": 3}}', "There is no setting --search.depth in version"),
  ],
)
def test_settings_that_are_refused(text, said, tmp_path):
  (tmp_path / "config.json").write_bytes(text)
  sentence = refusal(tmp_path)
  assert said in sentence and str(tmp_path) in sentence


def test_an_integer_is_a_number(tmp_path):
  (tmp_path / "config.json").write_text('{"config": {"targets.discount": 1}}')
  assert workdir.load(tmp_path).targets.discount == 1


def test_missing_settings_beside_checkpoints_are_said(tmp_path):
  assert "checkpoints" not in refusal(tmp_path)
  (tmp_path / "checkpoints").mkdir()
  assert "there are checkpoints in it: put config.json back" in refusal(tmp_path)


@pytest.mark.parametrize("text", [None, b'{"config": {"se', b'{"config": {"seed": "x"}}'])
def test_a_run_is_not_resumed_with_settings_that_cannot_be_compared(text, tmp_path):
  if text is not None:
    (tmp_path / "config.json").write_bytes(text)
  with pytest.raises(ConfigError, match=r"holds checkpoints, but .* --override_config"):
    workdir.compare(Config(), tmp_path)
  workdir.compare(Config(override_config=True), tmp_path)


@fuzz.fuzz
@given(
  st.one_of(
    st.binary(max_size=40),
    fuzz.VALUES.map(lambda value: json.dumps(value).encode()),
    st.tuples(st.sampled_from(sorted(SETTINGS)), fuzz.VALUES).map(
      lambda pair: json.dumps({"config": SETTINGS | dict([pair])}).encode()
    ),
    st.tuples(st.sampled_from(["versions", "devices", "command", "revision"]), fuzz.VALUES).map(
      lambda pair: json.dumps({"config": SETTINGS, pair[0]: pair[1]}).encode()
    ),
  )
)
def test_whatever_stands_in_config_json(tmp_path, text):
  """Settings that flags could have made, or one sentence; for reports, too."""
  (tmp_path / "config.json").write_bytes(text)
  for read in (workdir.load, history.read):
    try:
      found = read(tmp_path)
    except ConfigError as error:
      assert "\n" not in str(error) and len(str(error)) < 1000
      continue
    if isinstance(found, Config):
      configs.check_ranges(found)
      assert {name: type(value) for name, value in configs.values(found).items()}.items() <= {
        name: type(value)
        if type(value) is not float or type(configs.values(found)[name]) is float
        else int
        for name, value in SETTINGS.items()
      }.items()


def test_a_folder_stands_for_the_runs_below_it(tmp_path):
  """Not for those within a run or in a hidden folder; what holds no run is left as it is."""
  for name in ("b/1", "b/0", "a", "a/video", ".hidden"):
    (tmp_path / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / name / "config.json").write_text("{}")
  (tmp_path / "empty").mkdir()
  inside = [str(tmp_path / name) for name in ("a", "b/0", "b/1")]
  assert workdir.runs(str(tmp_path)) == inside
  assert workdir.runs(f" {tmp_path}/b , {tmp_path}/a,") == [*inside[1:], inside[0]]
  assert workdir.runs(f"{tmp_path}/empty") == [f"{tmp_path}/empty"]
  assert workdir.runs("") == [""]


def test_the_settings_to_go_on_with(tmp_path):
  """Those of the run, but for its place, which may have moved, and the permission to change."""
  saved = configs.values(Config()) | {"workdir": "old", "override_config": True, "seed": 7}
  assert workdir.own_settings(Config(workdir=str(tmp_path), seed=3)) is None  # a new run
  assert workdir.own_settings(Config()) is None
  with pytest.raises(ConfigError, match="no run in it to go on with; name the folder of a run, or"):
    workdir.own_settings(Config(workdir=str(tmp_path), env_steps=9), new=False)
  (tmp_path / "config.json").write_text(json.dumps({"config": saved}))
  own = Config(workdir=str(tmp_path), seed=7)
  assert workdir.own_settings(Config(workdir=str(tmp_path), seed=3)) == own
  (tmp_path / "config.json").write_text("{")
  with pytest.raises(ConfigError, match="cut off"):
    workdir.own_settings(Config(workdir=str(tmp_path)))
  assert workdir.own_settings(Config(workdir=str(tmp_path), override_config=True)) is None


@pytest.mark.parametrize("name", ["a,b", " a", "a "])
def test_a_name_that_other_commands_could_not_be_given_is_refused(name, tmp_path):
  with pytest.raises(ConfigError, match="with a comma, or with spaces around it"):
    workdir.open_workdir(Config(workdir=str(tmp_path) + "/" + name if name[0] != " " else name))


def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
  """config.json could not hold it."""
  with pytest.raises(ConfigError, match="no file can have this name"):
    workdir.open_workdir(Config(workdir=os.fsdecode(bytes(tmp_path) + b"/r\xff")))
  assert not list(tmp_path.iterdir())


def test_a_command_line_that_is_not_utf_8_does_not_make_a_run_unreadable(tmp_path, monkeypatch):
  word = os.fsdecode(b"--flagfile=caf\xe9.flags")
  monkeypatch.setattr(sys, "argv", ["train", word])
  workdir.describe(Config(), tmp_path)
  assert workdir.facts(tmp_path)["command"] == ["train", "--flagfile=caf\ufffd.flags"]


def test_a_current_folder_that_is_not_utf_8_is_refused(tmp_path, monkeypatch):
  folder = os.fsdecode(bytes(tmp_path) + b"/caf\xe9")
  os.mkdir(folder)
  monkeypatch.chdir(folder)
  with pytest.raises(ConfigError, match="is not UTF-8; start in another folder"):
    workdir.open_workdir(Config(workdir="run"))
  assert not os.listdir(folder)


def test_a_file_system_that_cannot_lock_is_not_another_run(tmp_path, monkeypatch):
  def flock(*_):
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

  monkeypatch.setattr(fcntl, "flock", flock)
  with pytest.raises(ConfigError, match=r"lock files \(Function not implemented\); name a folder"):
    workdir.open_workdir(Config(workdir=str(tmp_path)))


def test_settings_behind_a_link_are_not_read(tmp_path):
  (tmp_path / "elsewhere.json").write_text('{"config": {}}')
  (tmp_path / "run").mkdir()
  (tmp_path / "run" / "config.json").symlink_to(tmp_path / "elsewhere.json")
  assert "no readable config.json: it is not a file" in refusal(tmp_path / "run")


def test_things_of_the_wrong_kind_in_the_folder(tmp_path):
  """A folder with the name of a file, a file with that of a folder, and links."""
  config = Config(workdir=str(tmp_path))
  for name, make in {
    "metrics.jsonl": lambda path: path.mkdir(),
    "evaluations.jsonl": lambda path: path.symlink_to("nowhere"),
    "report.html": lambda path: path.symlink_to("/etc/hostname"),
    "checkpoints": lambda path: path.write_text(""),
    "evaluations": lambda path: path.write_text(""),
  }.items():
    make(tmp_path / name)
    with pytest.raises(ConfigError, match=f"{name}: is not a (file|folder); remove it"):
      workdir.open_workdir(config)
    (tmp_path / name).rmdir() if (tmp_path / name).is_dir() else (tmp_path / name).unlink()
  workdir.open_workdir(config)[1].close()


def test_another_run_in_a_folder_that_was_removed(tmp_path):
  """The folder of a run is removed, and made anew by the run: it holds the lock there. Removed once
  more, and taken by another run: the first one does not touch it any more.
  """
  config = Config(workdir=str(tmp_path / "run"))
  folder, lock = workdir.open_workdir(config)
  shutil.rmtree(folder)
  lock.check()  # nobody is there
  folder.mkdir()
  lock.check()
  with pytest.raises(ConfigError, match="another run is using it"):
    workdir.open_workdir(config)
  shutil.rmtree(folder)
  _, other = workdir.open_workdir(config)
  with pytest.raises(StorageError, match=r"run: the folder was removed, and another run has begun"):
    lock.check()
  lock.close()
  other.check()
  with pytest.raises(ConfigError, match="another run is using it"):
    workdir.open_workdir(config)
  other.close()


def test_a_run_goes_on_with_as_many_gpus(tmp_path, monkeypatch):
  """With more, batches and environments would grow unless they are stated in total. On a CPU the
  number is a setting.
  """
  described = {"config": SETTINGS | {"workdir": str(tmp_path)}, "devices": ["H100"]}
  (tmp_path / "config.json").write_text(json.dumps(described))
  config = Config(workdir=str(tmp_path))
  count = SimpleNamespace(default_backend=lambda: "gpu", device_count=lambda: 1)
  monkeypatch.setattr(workdir, "jax", count)
  workdir.compare(config, tmp_path)
  count.device_count = lambda: 8
  with pytest.raises(ConfigError, match=r"a run on 1 device\(s\), and there are 8: .*experiment"):
    workdir.compare(config, tmp_path)
  workdir.compare(configs.replace(config, {"override_config": True}), tmp_path)
  count.default_backend = lambda: "cpu"
  workdir.compare(config, tmp_path)
  count.default_backend = lambda: "gpu"
  totals = {"env.total_envs": 64, "learner.total_batch_size": 64}
  described["config"] |= totals
  (tmp_path / "config.json").write_text(json.dumps(described))
  workdir.compare(configs.replace(config, totals), tmp_path)


def test_a_name_that_no_file_can_have():
  with pytest.raises(ConfigError, match="no file can have this name"):
    workdir.place("a\0b")


def test_writing_does_not_follow_a_link(tmp_path):
  """Neither in place of the file nor in place of its draft; a failed draft leaves nothing."""
  (tmp_path / "other").write_text("kept")
  for name in ("page", ".page.part"):
    (tmp_path / name).symlink_to("other")
  workdir.write(tmp_path / "page", "new")
  assert (tmp_path / "page").read_text() == "new" and not (tmp_path / "page").is_symlink()
  assert (tmp_path / "other").read_text() == "kept"
  (tmp_path / "folder").mkdir()
  with pytest.raises(OSError):
    workdir.write(tmp_path / "folder", "new")
  assert not (tmp_path / ".folder.part").exists()
