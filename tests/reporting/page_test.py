"""The page of runs, from folders that the tests write."""

import base64
import hashlib
import html.parser
import json
import os
import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError
from muzero_jax.reporting import board, plots
from muzero_jax.reporting import page as report
from muzero_jax.reporting.sections import video
from muzero_jax.runs import history
from muzero_jax.runs.events import Events
from tests import fuzz
from tests.reporting.common import (
  metric_rows,
  score,
  write_run,
)

VOID = {"meta", "img", "br", "hr", "link", "input"}
LOADING = {"src", "href", "poster", "data", "srcset", "action", "background", "xlink:href"}


class Page(html.parser.HTMLParser):
  """What a browser would see: tags with attributes, text, table rows; every tag is closed by its
  own.
  """

  def __init__(self, text: str):
    super().__init__()
    self.tags, self.words, self.rows, self.texts, self._open = [], [], [], {}, []
    self.feed(text)
    self.close()
    assert not self._open

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    self.rows += [[]] if tag == "tr" else []
    if tag in ("td", "th"):
      self.rows[-1].append("")
    if tag not in VOID:
      self._open.append(tag)

  def handle_endtag(self, tag):
    assert self._open.pop() == tag

  def handle_data(self, data):
    if self._open[-1:] not in (["style"], ["script"]):
      self.words.append(data)
    self.texts.setdefault(self._open[-1] if self._open else "", []).append(data)
    if self._open and self._open[-1] in ("td", "th"):
      self.rows[-1][-1] += data

  @property
  def text(self):
    return " ".join(self.words)

  def all(self, tag):
    return [attributes for name, attributes in self.tags if name == tag]

  def row(self, head):
    """Cells after the first of the only row that begins so."""
    [found] = [row for row in self.rows if row[:1] == [head]]
    return found[1:]

  def chart(self, title):
    """The data of the only chart with this title."""
    charts = [
      json.loads(figure["data-chart"]) for figure in self.all("figure") if "data-chart" in figure
    ]
    [found] = [chart for chart in charts if chart["title"] == title]
    return found


def labels(chart):
  return {part["label"] for kind in ("lines", "bands", "dots") for part in chart[kind]}


def read_page(*folders, **kwargs):
  return Page(report.write(folders, **kwargs).read_text())


def test_a_run_of_pong(tmp_path):
  intervals = {"mean": [-19.51, -17.25], "median": None}
  evaluations = [
    score(-12.5, 2000),
    score(-18.5, intervals=intervals, level=0.95, seconds=12.25),
    score(-20.75, agent="random"),
  ]
  rows = metric_rows(
    [-21, -20.5, -19.625],
    **{"loss/policy": 1.875, "replay/age": 321.0, "search/entropy": 0.5625, "value/new_one": 7.5},
  )
  folder = write_run(
    tmp_path / "pong", rows, evaluations, seed=3, env_steps=5000, search__num_simulations=17
  )
  path = report.write([folder])
  assert path == folder / "report.html"
  page = Page(path.read_text())
  assert page.texts["h1"] == page.texts["title"] == ["Pong-v5, seed 3"]
  head = {row[0]: row[1] for row in page.rows if len(row) == 2}
  assert head["agent steps"] == "3,000 of 5,000" and head["wall-clock time"] == "0:03:00"
  assert head["agent steps/s (median)"] == "16.5" and head["newest training return"] == "-19.62"
  assert head["last evaluation"] == "-18.50 [-19.51, -17.25], 7 episodes after 3,000 steps"
  assert head["best evaluation"] == "-12.50, 7 episodes after 2,000 steps (of 2)" and head[
    "random play"
  ].startswith("-20.75, 7 episodes")
  assert (head["protocol"], head["code"], head["devices"]) == ("100k", "abc1234", "cpu")
  table = [row for row in page.rows if row[0] == "pong"]
  scores = ["-18.50 [-19.51, -17.25]", "-17.50", "-16.50", "-15.50"]
  assert table[1][1:] == ["Pong-v5", "trained", "3,000", "100k", "7", *scores, "12.25"]
  assert [row[2] for row in table] == ["trained", "trained", "random"]
  assert "95% bootstrap" in page.text
  # atari_scores.csv: random -20.7, human 14.6; -18.5 is (20.7 - 18.5) / 35.3 of the way.
  published = page.row("Pong-v5")
  assert (
    published[:4] == ["", "1", "3,000", "-18.5 (0.06)"]
    and "-20.7 (0.00)" in published
    and "14.6 (1.00)" in published
  )
  for heading in ("Throughput", "Losses", "Replay", "Search", "Value", "Configuration"):
    assert heading in page.texts["h2"]
  for name, value in (
    ("loss/policy", "1.875"),
    ("replay/age", "321"),
    ("search/entropy", "0.5625"),
    ("value/new_one", "7.5"),
  ):
    assert page.row(name) == [value]
    assert page.chart(name)["lines"][0]["y"] == [float(value)] * 3
  assert page.row("--search.num_simulations") == ["8", "17"]
  assert set(configs.values(Config())) == {
    row[0][2:] for row in page.rows if row[0].startswith("--")
  }
  assert "jax 0.10.77" in page.text and "train --seed" in page.text
  for x in ("agent steps", "wall-clock time"):
    chart = page.chart(f"Pong-v5: return against {x}")
    assert x in chart["x"] and labels(chart) == {"training episodes", "evaluation"}
    assert chart["level"] == -20.75
    [dots] = chart["dots"]
    assert (dots["y"], dots["low"], dots["high"]) == (
      [-12.5, -18.5],
      [None, -19.51],
      [None, -17.25],
    )
  steps = page.chart("Pong-v5: return against agent steps")
  assert steps["lines"][0]["x"] == [1000, 2000, 3000] and steps["dots"][0]["x"] == [2000, 3000]


def test_seeds_make_a_band_and_a_setting_makes_a_group(tmp_path):
  folders = [write_run(tmp_path / f"s{seed}", metric_rows([seed, 2]), seed=seed) for seed in (0, 1)]
  page = read_page(*folders, output=tmp_path / "two.html")
  assert "Runs that differ" not in page.text
  assert labels(page.chart("Pong-v5: return against agent steps")) == {
    "mean of seeds",
    "lowest to highest",
    "a seed's training episodes",
  }
  marked = [attributes for attributes in page.all("tr") if attributes.get("class") == "differs"]
  assert len(marked) == 2  # --workdir and --seed
  assert page.row("--seed") == ["0", "0, 1"]
  page = read_page(
    *folders,
    write_run(tmp_path / "puct", metric_rows([5]), search__kind="puct"),
    output=tmp_path / "three.html",
  )
  assert (
    "search.kind=gumbel (Pong-v5, seeds 0, 1)" in page.text
    and "search.kind=puct (Pong-v5, seed 0)" in page.text
  )
  assert page.row("--search.kind") == ["gumbel", "gumbel", "puct"]
  assert (
    len(
      {
        *re.findall(
          "color: (#[0-9a-f]{6})", " ".join(item.get("style", "") for item in page.all("span"))
        )
      }
    )
    == 2
  )


def test_several_games_have_a_curve_each(tmp_path):
  pong = write_run(tmp_path / "x" / "run", metric_rows([-21]), [score(-20.0)])
  catch = write_run(tmp_path / "y" / "run", metric_rows([0.5]), env__kind="catch")
  page = read_page(pong, catch, output=tmp_path / "report.html")
  assert "Pong-v5, catch: 2 runs" in page.text
  assert str(pong) in page.text and str(catch) in page.text  # the folders' names are the same
  for task in ("Pong-v5", "catch"):
    assert "training episodes" in labels(page.chart(f"{task}: return against agent steps"))
  assert len([row for row in page.rows if row[0] == "Pong-v5"]) == 1  # published
  assert not [row for row in page.rows if row[0] == "catch"]


def test_a_game_without_published_scores(tmp_path):
  page = read_page(
    write_run(
      tmp_path / "run",
      metric_rows([0]),
      [{"env_steps": 1, "mean": 0.5}],
      env__kind="gymnax",
      env__task="Mine",
    )
  )
  assert "no published scores" in page.text and "0.50,  episodes after 1 steps" in page.text
  assert "rewritten in JAX" not in page.text


def test_scores_of_games_that_were_rewritten_say_so(tmp_path):
  page = read_page(
    write_run(
      tmp_path / "run", metric_rows([0]), [score(3.0)], env__kind="jaxtari", env__task="pong"
    )
  )
  assert "rewritten in JAX: their scores are not those of Atari" in page.text


def test_a_run_that_just_began(tmp_path):
  page = read_page(write_run(tmp_path / "run", log_every=12345))
  assert "run has no metrics yet: the first line comes after 12,345 agent steps." in page.text
  assert "No evaluation yet." in page.text and "Pong-v5: no episode has ended yet." in page.text
  assert not [figure for figure in page.all("figure")] and not page.all("video")
  folder = write_run(tmp_path / "bare")
  (folder / "metrics.jsonl").unlink(), (folder / "evaluations.jsonl").unlink()
  assert "No evaluation yet." in read_page(folder).text


def test_a_torn_line_and_strange_numbers(tmp_path):
  rows = metric_rows([1, 2, 3, 4], **{"loss/total": float("nan"), "learner/huge": float("inf")})
  folder = write_run(tmp_path / "run", rows)
  with open(folder / "metrics.jsonl", "a") as file:
    file.write('{"env_steps": 99000, "episode/ret')
  page = read_page(folder)
  assert "4,000 of 1,000,000" in page.text and "99,000" not in page.text
  assert page.row("loss/total") == ["nan"] and page.row("learner/huge") == ["inf"]


def test_no_file_behind_a_link_is_embedded(tmp_path):
  """Neither a linked video nor one in a linked folder: a report may be given away."""
  (tmp_path / "secret.mp4").write_bytes(b"secret")
  for name, link in (("a", "video/1.mp4"), ("b", "video")):
    folder = write_run(tmp_path / name, metric_rows([1]))
    (folder / link).parent.mkdir(exist_ok=True)
    target = tmp_path if link == "video" else tmp_path / "secret.mp4"
    (folder / link).symlink_to(target)
    assert not read_page(folder).all("video")
    assert not history.videos(folder)


@settings(fuzz.fuzz, max_examples=30)
@given(
  st.lists(fuzz.lines(metric_rows([1.5])[0] | {"loss/total": 2.0}), max_size=4),
  st.lists(fuzz.lines(score(1.5)), max_size=4),
  st.dictionaries(st.sampled_from(["env.task", "later.setting", "seed"]), fuzz.VALUES),
)
def test_whatever_stands_in_a_run_s_files(tmp_path, rows, evaluations, changed):
  """A page, a plot and TensorBoard's files, or one sentence."""
  folder = tmp_path / "run"
  facts = {"config": configs.values(Config()) | changed, "versions": [], "command": {"a": 1}}
  folder.mkdir(exist_ok=True)
  (folder / "config.json").write_text(json.dumps(facts))
  (folder / "metrics.jsonl").write_bytes(b"\n".join(rows))
  (folder / "evaluations.jsonl").write_bytes(b"\n".join(evaluations))
  for read in (read_page, board.write, lambda folder: plots.draw_curve(folder, ""), all_events):
    try:
      read(folder)
    except ConfigError as error:
      assert "\n" not in str(error)


def all_events(folder):
  said = []
  Events(folder, start=2**62, seconds=1.0, say=said.append).close()
  assert not said or "cannot be written" in said[0]


def test_another_version_s_settings_are_shown(tmp_path):
  folder = write_run(tmp_path / "run", metric_rows([1]))
  facts = json.loads((folder / "config.json").read_text())
  del (
    facts["config"]["search.kind"],
    facts["versions"],
    facts["revision"],
    facts["devices"],
    facts["command"],
  )
  facts["config"]["search.gone"] = 5
  (folder / "config.json").write_text(json.dumps(facts))
  page = read_page(folder)
  assert page.row("--search.gone") == ["", "5"] and page.row("--search.kind") == [
    "gumbel",
    "gumbel",
  ]


def test_nothing_is_loaded_and_nothing_escapes(tmp_path):
  evil = """</h1><script>alert(1)</script><img src="http://evil.example/a.png" onerror='x'>&amp;$title $"""
  rows = metric_rows([1, 2], **{f"{evil}/{evil}": 1.0, "$x_{$": 2.0})
  folder = write_run(
    tmp_path / "a'<b>&", rows, [score(1.0, protocol=evil, note=evil)], env__task=evil
  )
  path = report.write([folder])
  page = Page(path.read_text())
  assert page.texts["h1"] == [f"{evil}, seed 0"] and page.texts["title"] == [f"{evil}, seed 0"]
  assert evil in page.row("--env.task") and evil in page.row(folder.name)
  assert {tag for tag, _ in page.tags}.isdisjoint({"link", "iframe", "object", "embed", "base"})
  assert not [name for _, attributes in page.tags for name in attributes if name in LOADING]
  assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
  [style] = page.texts["style"]
  assert "url(" not in style and "@import" not in style
  [policy] = [meta["content"] for meta in page.all("meta") if "http-equiv" in meta]
  assert policy.startswith("default-src 'none'; img-src data:; media-src data:;")
  # Only the page's own scripts may run, by their digests.
  assert len(page.all("script")) == len(page.texts["script"]) == 3
  allowed = policy.partition("script-src ")[2].split()
  assert allowed == [
    f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
    for text in page.texts["script"]
  ]
  assert not [text for text in page.texts["script"] if "alert" in text]


def test_the_newest_video_is_embedded_unless_it_is_large(tmp_path, monkeypatch):
  folder = write_run(tmp_path / "run", metric_rows([1]))
  (folder / "video").mkdir()
  for seconds, name in ((3000, ".9.mp4.part.mp4"), (1000, "900.mp4"), (2000, "1000.mp4")):
    (folder / "video" / name).write_bytes(b"film " + name.encode())
    os.utime(folder / "video" / name, (seconds, seconds))
  other = write_run(tmp_path / "other", metric_rows([1]), seed=1)
  for folders in ([folder], [folder, other], [other, folder]):
    page = read_page(*folders, output=tmp_path / "report.html")
    [shown] = page.all("video")
    assert shown["src"] == "data:video/mp4;base64," + base64.b64encode(b"film 1000.mp4").decode()
    assert "controls" in shown
    assert "1000.mp4 of run" in page.text
    # Curve and video stand side by side, before everything else.
    text = (tmp_path / "report.html").read_text()
    body = text[text.index("<body") :]
    marks = ['<div class="first"', "<figure", "<video", "<h2>Evaluations"]
    assert sorted(marks, key=body.index) == marks
  monkeypatch.setattr(video, "MAX_BYTES", 3)
  page = read_page(folder)
  assert not page.all("video") and str(folder / "video" / "1000.mp4") in page.text


def test_long_runs_make_small_files(tmp_path):
  """Unthinned, these lines alone are more than 5 MB."""
  random = np.random.RandomState(0)
  rows = [
    row | {f"loss/{i}": random.rand() for i in range(10)}
    for row in metric_rows(random.rand(8_000).tolist())
  ]
  path = report.write(
    [write_run(tmp_path / str(seed), rows, seed=seed) for seed in range(2)],
    tmp_path / "report.html",
  )
  assert 100_000 < path.stat().st_size < 1_000_000
