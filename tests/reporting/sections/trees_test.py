"""The section of search trees, from files that the tests write."""

import json
import os
import re

import pytest

from muzero_jax.evaluation import moments
from tests.reporting.common import metric_rows, write_moments, write_run
from tests.reporting.page_test import read_page
from tests.search.common import tree_by_hand


def test_trees_of_the_newest_video(tmp_path):
  """The actions with their numbers, the picture, and what the script needs; another folder's
  moments are not shown.
  """
  folder = write_run(tmp_path / "run", metric_rows([1]))
  write_moments(folder, [tree_by_hand().to_dict(), tree_by_hand(chosen=0).to_dict()])
  page = read_page(folder)
  assert "Search trees" in page.texts["h2"] and len(page.all("svg")) == 2
  assert page.texts["summary"] == ["Episode 1, step 3: x", "Episode 1, step 3: x"]
  assert [row[1:] for row in page.rows if row[0] == "right"] == [["50 %", "50 %", "2", "3.75"]] * 2
  assert page.rows.count(["stay", "38 %", "25 %", "0", ""]) == 2
  [told, _] = [json.loads(place["data-tree"]) for place in page.all("div") if "data-tree" in place]
  assert len(told["changes"]) == 4
  assert [field["max"] for field in page.all("input") if field.get("min") == "0"][-1] == "3"


def test_an_agent_without_a_tree(tmp_path):
  folder = write_run(tmp_path / "run", metric_rows([1]))
  write_moments(folder, [None], search="none")
  page = read_page(folder)
  assert "decides without a tree (--search.kind=none)" in page.text and not page.all("svg")


def test_actions_that_others_stand_for_are_explained(tmp_path):
  """One that was taken: it has a part of the policy, but no prior and no node in the tree."""
  folder = write_run(tmp_path / "run", metric_rows([1]))
  tree = tree_by_hand(root_prior=[0.5, 0.0, 0.5], chosen=1)
  write_moments(folder, [tree_by_hand().to_dict(), tree.to_dict()])
  page = read_page(folder)
  assert page.text.count("(--search.equivalence)") == 1
  assert ["stay", "0 %", "25 %", "0", ""] in page.rows
  write_moments(folder, [tree_by_hand().to_dict()])
  assert "(--search.equivalence)" not in read_page(folder).text


def test_a_pipe_is_not_read(tmp_path):
  """Reading one would wait for ever."""
  os.mkfifo(tmp_path / "1.json")
  with pytest.raises(ValueError, match="it is not a file"):
    moments.read(tmp_path / "1.json")


def test_no_section_without_moments(tmp_path):
  folder = write_run(tmp_path / "run", metric_rows([1]))
  assert "Search trees" not in read_page(folder).text
  path = write_moments(folder, [None])
  path.unlink()
  assert "Search trees" not in read_page(folder).text


def test_moments_that_cannot_be_read_are_one_sentence(tmp_path):
  """Also those behind a link: a report may be given away."""
  folder = write_run(tmp_path / "run", metric_rows([1]))
  path = write_moments(folder, [tree_by_hand().to_dict() | {"chosen": 9}])
  assert "cannot be read (it describes no moments" in read_page(folder).text
  secret = tmp_path / "secret.json"
  write_moments(folder, [tree_by_hand().to_dict()]).rename(secret)
  path.symlink_to(secret)
  page = read_page(folder)
  assert "cannot be read" in page.text and not page.all("svg")


def test_names_of_actions_cannot_leave_their_place(tmp_path):
  evil = "</svg><script>alert(1)</script>"
  folder = write_run(tmp_path / "run", metric_rows([1]))
  write_moments(folder, [tree_by_hand().to_dict() | {"names": [evil] * 3}])
  page = read_page(folder)
  assert evil in page.text
  assert len(page.all("script")) == len(re.findall("sha256-", page.all("meta")[-1]["content"]))
