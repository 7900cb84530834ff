"""Agents in one file: the same actions in another process, and one sentence about any damage."""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import zipfile

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muzero_jax import build
from muzero_jax.config import ConfigError, StorageError
from muzero_jax.envs.base import Spec
from muzero_jax.reporting import card
from muzero_jax.runs import exported, workdir
from muzero_jax.runs.restore import Agent
from tests import fuzz
from tests.conftest import catch_config

ROOT = pathlib.Path(__file__).parents[2]
SPEC = Spec(1, 3, (10, 5))
BOARDS = np.random.default_rng(0).integers(0, 2, (40, 2, 10, 5), np.uint8) * 255
ROW = {
  **{"agent": "trained", "task": "catch", "protocol": "own", "env_steps": 512, "episodes": 4},
  **{"mean": 0.5, "median": 1.0, "iqm": 1.0, "level": 0.95, "intervals": {"mean": [-0.5, 1.0]}},
}


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
  """An untrained agent of Catch, with heads that are not zero so that its choices differ."""
  folder = tmp_path_factory.mktemp("run")
  config = catch_config(folder, seed=7, search__kind="none")
  workdir.describe(config, folder)
  rows = [ROW | {"env_steps": 256}, ROW | {"mean": 0.1}, ROW, ROW | {"agent": "random"}]
  text = "".join(json.dumps(row) + "\n" for row in rows)
  (folder / "evaluations.jsonl").write_text(text)
  model = build.make_model(config, SPEC)
  search = build.make_search(config, model)
  first = {**jax.jit(model.init)(jax.random.key(0)), "statistics": exported.no_statistics()}
  draw = np.random.default_rng(1)
  params = jax.tree.map(lambda x: (x + draw.normal(size=x.shape)).astype(x.dtype), first)
  return Agent(folder, config, model, search, params, 512, SPEC)


@pytest.fixture
def file(agent, tmp_path):
  """The agent's file, in another folder."""
  exported.write(agent, exported.facts(agent), tmp_path / "catch.npz")
  return tmp_path / "catch.npz"


@pytest.mark.long
def test_another_process_acts_in_the_same_way_from_the_file_alone(agent, file, tmp_path):
  program = (
    "import muzero_jax, numpy as np; boards = np.load('boards.npy');"
    "player = muzero_jax.load_agent('catch.npz').player();"
    "print([player.act(board, not t).tolist() for t, board in enumerate(boards)])"
  )
  np.save(tmp_path / "boards.npy", BOARDS)
  call = [sys.executable, "-c", program]
  env = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
  process = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False, env=env)
  assert process.returncode == 0, process.stderr
  player = agent.player()
  actions = [player.act(board, not t).tolist() for t, board in enumerate(BOARDS)]
  assert json.loads(process.stdout) == actions and len(np.unique(actions)) > 1


def test_everything_comes_back(agent, file):
  found = exported.load(file)
  assert found.config == dataclasses.replace(agent.config, workdir="")
  assert (found.env_steps, found.spec) == (512, SPEC)
  assert found.folder == file.with_name("catch.npz.results")
  jax.tree.map(np.testing.assert_array_equal, found.params, agent.params)
  with zipfile.ZipFile(file) as archive:
    known = archive.read("agent.json").decode()
  assert str(agent.folder) not in known, "the path of a folder is nobody else's business"
  rows = json.loads(known)["evaluations"]
  assert [(row["agent"], row["mean"]) for row in rows] == [("trained", 0.5), ("random", 0.5)]


def rewritten(file, change):
  """The file with its `agent.json` changed by a function."""
  with zipfile.ZipFile(file) as archive:
    members = {name: archive.read(name) for name in archive.namelist()}
  known = json.loads(members["agent.json"])
  change(known)
  with zipfile.ZipFile(file, "w") as archive:
    for name, data in (members | {"agent.json": json.dumps(known).encode()}).items():
      archive.writestr(name, data)


@pytest.mark.parametrize(
  ("damage", "said"),
  [
    (lambda data: data[: len(data) // 2], "is no agent, or is damaged"),
    (lambda data: data[:3000] + bytes([data[3000] ^ 1]) + data[3001:], "Bad CRC-32"),
    (lambda data: b"", "is no agent, or is damaged"),
    (lambda data: b"\x80\x04K\x01.", "is no agent, or is damaged"),  # a pickle
  ],
)
def test_a_damaged_or_foreign_file_is_one_sentence(file, damage, said):
  file.write_bytes(damage(file.read_bytes()))
  with pytest.raises(ConfigError, match=said) as caught:
    exported.read(file)
  assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_an_archive_of_arrays_is_no_agent(tmp_path):
  np.savez(tmp_path / "arrays.npz", x=np.zeros(3))
  with pytest.raises(ConfigError, match=r"There is no item named 'agent.json'"):
    exported.read(tmp_path / "arrays.npz")


@pytest.mark.parametrize(
  ("change", "said"),
  [
    (lambda known: known.update(format="muzero_jax agent, format 2"), "format is 'muzero_jax"),
    (lambda known: known["config"].update({"env.colours": 3}), "no setting --env.colours"),
    (lambda known: known["config"].update({"env.stack": 3}), "not those of the network"),
    (lambda known: known["spec"].update(num_actions="many"), "a size in it is no number"),
    (lambda known: known["spec"].update(frame_shape=[]), "it has no actions, or no frames"),
    (lambda known: known["spec"].update(num_actions=0), "it has no actions, or no frames"),
    (lambda known: known.pop("spec"), "is no agent, or is damaged"),
  ],
)
def test_an_agent_of_another_version_is_one_sentence(file, change, said):
  rewritten(file, change)
  with pytest.raises(ConfigError, match=said):
    exported.read(file)


@settings(fuzz.fuzz, max_examples=25)
@given(
  st.sampled_from(["spec", "env_steps", "config", "frame_shape", "num_actions", "frame_dtype"]),
  st.one_of(fuzz.VALUES, st.lists(st.integers(0, 2**40), max_size=4)),
)
def test_whatever_stands_in_it_is_one_sentence(file, name, value):
  """Or an agent, where the value is that of another one that fits."""
  intact = file.read_bytes()
  rewritten(file, lambda known: (known if name in known else known["spec"]).update({name: value}))
  with contextlib.suppress(ConfigError):
    exported.read(file)
  file.write_bytes(intact)


def test_a_file_that_cannot_be_written(agent, tmp_path):
  with pytest.raises(StorageError, match="cannot be written"):
    exported.write(agent, exported.facts(agent), tmp_path / "nowhere" / "catch.npz")


def test_the_card_says_what_it_is_and_how_well_it_plays(agent):
  said = card.text(agent, exported.facts(agent), "catch.npz")
  assert said.startswith("# catch after 512 agent steps\n")
  assert "| actions | left, stay, right |" in said
  assert "| this agent | own | 4 | 0.50 [-0.50, 1.00] | 1.00 | 1.00 |" in said
  assert "| random | own | 4 | 0.50 [-0.50, 1.00] |" in said
  assert "95% bootstrap intervals over episodes" in said
  assert "Protocol own: the environment as in training; actions without exploration." in said
  assert 'load_agent("catch.npz")' in said and "\n--env.kind=catch\n" in said
  assert str(agent.folder) not in said and "--workdir=catch.npz" in said


def test_the_card_says_that_actions_were_drawn(agent):
  known = exported.facts(agent)
  known["evaluations"][0]["protocol"] = "machado-minimal-sampled"
  assert "; not comparable with machado; actions drawn as in training." in card.text(
    agent, known, "catch.npz"
  )


def test_the_card_of_an_agent_without_scores_says_so(agent):
  known = exported.facts(dataclasses.replace(agent, env_steps=100)) | {"evaluations": []}
  assert "These parameters were not evaluated" in card.text(agent, known, "catch.npz")
