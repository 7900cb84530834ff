"""Weights & Biases, with a stand-in for its library."""

import json
import pathlib
import sys
import tempfile

import pytest
from hypothesis import given, settings

from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError
from muzero_jax.reporting import tracker
from muzero_jax.runs import jsonl
from tests import fuzz
from tests.reporting.common import metric_rows, score, write_run
from tests.runs.events_test import reporter


class Wandb:
  """What the tracker uses of wandb: all that was logged, and the arguments of `init`."""

  def __init__(self):
    self.begun, self.logged, self.metrics, self.finished = [], [], [], 0
    self.broken = None

  def init(self, **settings):
    self.begun.append(settings)
    return self

  def Settings(self, **settings):
    return settings

  def Video(self, path, format):
    return (path, format)

  def define_metric(self, *names, **more):
    self.metrics.append((*names, *more.values()))

  def log(self, row):
    if self.broken:
      raise self.broken
    self.logged.append(row)

  def finish(self):
    self.finished += 1

  def steps(self, name):
    return [(row["env_steps"], row[name]) for row in self.logged if name in row]


@pytest.fixture
def wandb(monkeypatch):
  fake = Wandb()
  monkeypatch.setitem(sys.modules, "wandb", fake)
  return fake


def opened(folder, start=0, say=print):
  return tracker.opened(Config(workdir=str(folder), tracker="wandb"), folder, start, say)


def test_a_run_goes_on_in_the_same_stream(wandb, tmp_path):
  """Killed after 3,000 steps, a run goes on from its checkpoint at 2,000: the row of 3,000 was sent
  and is not sent again, and the rows that it had before it was tracked (1,000) come first.
  """
  folder = write_run(tmp_path / "run", metric_rows([-1.0]))
  first = opened(folder, start=1000)
  for row in metric_rows([-1.0, 0.5, 0.75])[1:]:
    first.add(row | {"note": "no number"})
  again = opened(folder, start=2000)
  for row in metric_rows([-1.0, 0.5, 0.25, 1.0])[2:]:
    again.add(row)
  again.close()
  assert wandb.steps("episode/return") == [(1000, -1.0), (2000, 0.5), (3000, 0.75), (4000, 1.0)]
  assert "note" not in wandb.logged[1]
  one, other = wandb.begun
  assert one["id"] == other["id"] and one["resume"] == "allow" and one["name"] == "run"
  assert one["project"] == "muzero_jax" and one["dir"] == str(folder)
  assert one["config"]["search.kind"] == "gumbel" and "workdir" not in one["config"]
  assert ("*", "env_steps") in wandb.metrics and wandb.finished == 1


def test_evaluations_and_the_newest_video_are_sent_once(wandb, tmp_path):
  scores = [score(-1.0, 100), score(2.0, 200, intervals={"mean": [1.0, 3.0]})]
  folder = write_run(tmp_path / "run", (), [*scores, score(-20.0, 200, agent="random")])
  (folder / "video").mkdir()
  (folder / "video" / "200.mp4").write_bytes(b"film")
  for _ in range(2):
    opened(folder, 200).show()
  assert wandb.steps("evaluation/100k/mean") == [(100, -1.0), (200, 2.0)]
  assert wandb.steps("evaluation/100k/mean_high") == [(200, 3.0)]
  assert wandb.steps("video") == [(200, (str(folder / "video" / "200.mp4"), "mp4"))]


def test_what_cannot_be_sent_is_said_once(wandb, tmp_path):
  """And is sent no second time, but what comes after it is."""
  folder, said = write_run(tmp_path / "run"), []
  found = opened(folder, say=said.append)
  wandb.broken = OSError("the network is gone")
  rows = metric_rows([1.0, 2.0, 3.0])
  found.add(rows[0]), found.add(rows[1])
  wandb.broken = None
  found.add(rows[2])
  assert [text.partition(" (")[2] for text in said] == ["the network is gone); training goes on."]
  assert wandb.steps("episode/return") == [(3000, 3.0)]


def test_a_file_of_something_else_begins_a_new_stream(wandb, tmp_path):
  folder = write_run(tmp_path / "run")
  texts = ("[]", '{"id": 3}', "torn {", json.dumps({"id": "a", "env_steps": True}), "[" * 100_000)
  for text in texts:
    (folder / tracker.STATE).write_text(text)
    opened(folder)
  assert len({settings["id"] for settings in wandb.begun}) == 5


@settings(fuzz.fuzz, max_examples=40)
@given(fuzz.lines({"id": "a1", "env_steps": 1000, "evaluated": 1, "video": "1.mp4"}))
def test_whatever_stands_in_the_state(tmp_path, text):
  """The run is sent, in the same stream or in a new one."""
  fake = Wandb()
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(sys.modules, "wandb", fake)
    folder = write_run(pathlib.Path(tempfile.mkdtemp(dir=tmp_path)) / "run", metric_rows([-1.0]))
    (folder / tracker.STATE).write_bytes(text)
    sent = opened(folder, start=1000)
    sent.add(metric_rows([-1.0, 0.5])[1])
    sent.close()
  assert len(fake.begun) == 1 and isinstance(fake.begun[0]["id"], str)


def test_rows_of_metrics_reach_it(wandb, tmp_path):
  folder = write_run(tmp_path / "run")
  with reporter(folder, 0, seconds=0.0, track=opened(folder).add) as begun:
    begun.env_steps = 64
    begun.write()
  assert wandb.logged[0]["env_steps"] == 64
  assert jsonl.read(folder / "metrics.jsonl") == [wandb.logged[0]]


def test_without_the_library_or_an_account_there_is_one_sentence(monkeypatch, tmp_path):
  config = Config(tracker="wandb")
  monkeypatch.setitem(sys.modules, "wandb", None)
  with pytest.raises(ConfigError, match=r"needs wandb.*pip install 'muzero_jax\[wandb\]', or use"):
    tracker.check(config)
  tracker.check(Config())
  fake = Wandb()
  monkeypatch.setitem(sys.modules, "wandb", fake)
  monkeypatch.setattr(fake, "init", lambda **_: (_ for _ in ()).throw(RuntimeError("no\nkey.")))
  with pytest.raises(ConfigError, match=r"cannot be begun \(no key\): log in .* WANDB_MODE=off"):
    opened(tmp_path)


def test_it_may_be_chosen_when_a_run_goes_on():
  before = Config()
  assert configs.differences(before, configs.replace(before, {"tracker": "wandb"})) == []


@pytest.mark.long
def test_the_library_itself_without_a_network(tmp_path, monkeypatch):
  """Offline, in its own process and file: the rows of before and after the run was tracked."""
  pytest.importorskip("wandb")
  monkeypatch.setenv("WANDB_MODE", "offline")
  folder = write_run(tmp_path / "run", metric_rows([-1.25]), [score(-2.0)])
  own = opened(folder, start=1000)
  own.add(metric_rows([-1.25, 0.5])[1])
  own.show()
  own.close()
  [stream] = folder.glob("wandb/offline-run-*/run-*.wandb")
  assert b"episode/return" in stream.read_bytes() and b"-1.25" in stream.read_bytes()
