"""docs/library.md, as a reader would try it: every block, in order, in an empty folder."""

import json
import os
import pathlib
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

ROOT = pathlib.Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "library.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
FILES = {block.split()[1]: block for block in BLOCKS if block.startswith("# ")}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
  """The folder in which all blocks were run, as one program, and what was printed."""
  folder = tmp_path_factory.mktemp("library")
  for name, block in FILES.items():
    (folder / name).write_text(block)
  # Long runs teach more than this test needs to see, and more evaluations than one are too many.
  program = "\n".join(block for block in BLOCKS if block not in FILES.values())
  chance, none = '"evaluation.random_episodes": 0', '"evaluation.episodes": 0'
  for given, shorter in (
    ("env_steps=20_000", "env_steps=4_000"),
    (
      '"network.kind": "mlp"}\nconfig = muzero_jax.make_config(workdir="runs/cartpole"',
      f'"network.kind": "mlp", {chance}}}\nconfig = muzero_jax.make_config(workdir="runs/cartpole"',
    ),
    ('"my_losses:confidence=0.01"}', f'"my_losses:confidence=0.01", {chance}, {none}}}'),
  ):
    assert given in program
    program = program.replace(given, shorter)
  (folder / "program.py").write_text(program)
  process = subprocess.run(
    [sys.executable, "program.py"],
    cwd=folder,
    capture_output=True,
    text=True,
    check=False,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
  )
  assert process.returncode == 0, process.stdout + process.stderr
  return folder, process.stdout


def rows(path):
  return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_use_is_short():
  assert len(BLOCKS) == 9 and FILES.keys() == {"my_games.py", "my_losses.py"}
  assert all(block.count("\n") < 10 for block in BLOCKS if block not in FILES.values())


def test_runs_leave_what_commands_leave(done):
  folder, said = done
  assert {path.name for path in (folder / "runs").iterdir()} == {"cartpole", "follow", "catch"}
  for path in (folder / "runs").iterdir():
    assert json.loads((path / "config.json").read_text())["config"]["env_steps"] == 4000
    assert (path / "report.html").exists()
  assert re.search(r"^score: \d+", said, re.MULTILINE)
  assert re.search(r"^action: [012]$", said, re.MULTILINE)


def test_an_agent_is_taken_home(done):
  folder, said = done
  assert re.search(r"^from the file: [01]$", said, re.MULTILINE)
  card = (folder / "cartpole.md").read_text()
  assert card.startswith("# CartPole-v1 after 4,000 agent steps") and "| this agent | own |" in card


def test_a_search_tree_is_printed_and_drawn(done):
  folder, said = done
  lines = re.findall(r"^tree: \['(?:left|right)'.*\] N \d+ Q ", said, re.MULTILINE)
  svg = ElementTree.parse(folder / "tree.svg")
  nodes = [group for group in svg.iter() if group.get("class") == "node"]
  assert 3 <= len(lines) == len(nodes) - 1 <= 8


def test_a_custom_game_is_played_and_scored(done):
  folder, _ = done
  trained, chance = rows(folder / "runs" / "follow" / "evaluations.jsonl")
  assert trained["task"] == chance["task"] == "my_games:follow" and set(chance["lengths"]) == {8}
  assert 0 <= trained["mean"] <= 8


def test_a_custom_term_is_part_of_the_loss(done):
  folder, _ = done
  row = rows(folder / "runs" / "catch" / "metrics.jsonl")[-1]
  assert -1.0986 - 1e-4 <= row["loss/confidence"] < 0  # minus the entropy of three actions
  assert "loss/confidence" not in rows(folder / "runs" / "follow" / "metrics.jsonl")[-1]
