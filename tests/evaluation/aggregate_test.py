"""Several runs as one result: from folders written by hand, and through the command."""

import json

import numpy as np
import pytest

from launch import cli, export
from launch import evaluate as command
from muzero_jax import build
from muzero_jax import config as configs
from muzero_jax.config import ConfigError
from muzero_jax.evaluation import aggregate, scores
from muzero_jax.runs import jsonl, workdir
from muzero_jax.runs.checkpoint import Checkpoints
from tests import builders


@pytest.fixture
def write(tmp_path):
  """Makes a run's folder with evaluations in it, and returns its name."""

  def write(
    name,
    *returns,
    task="Pong-v5",
    seed=0,
    protocol="100k",
    agent="trained",
    env_steps=1000,
    **settings,
  ):
    folder = tmp_path / name
    folder.mkdir(exist_ok=True)
    config = builders.config(env__task=task, seed=seed, **settings)
    (folder / "config.json").write_text(json.dumps({"config": configs.values(config)}))
    for games in returns:
      row = {
        "env_steps": env_steps,
        "task": task,
        "protocol": protocol,
        "agent": agent,
        **scores.summary(games, task),
      }
      jsonl.append(folder / "evaluations.jsonl", row)
    return str(folder)

  return write


def read(*folders, agent="trained", protocol="auto"):
  return aggregate.aggregate(
    [aggregate.newest_evaluation(folder, agent, protocol) for folder in folders]
  )


def test_seeds_and_games_by_hand(write):
  """Pong (random -20.7, human 14.6): seeds score -20.7 (0) and 14.6 (1). Breakout (1.7, 30.5): 16.1
  (0.5) and 59.3 (2).
  """
  result = read(
    write("a", [-20.7, -20.7], seed=1),
    write("b", [59.3], task="Breakout-v5", seed=1),
    write("c", [10.6, 18.6], seed=0),
    write("d", [12.1, 16.1, 20.1], task="Breakout-v5", seed=0),
  )
  breakout, pong = result["tasks"]
  assert (breakout["task"], breakout["seeds"], breakout["episodes"]) == ("Breakout-v5", 2, 4)
  assert (pong["task"], pong["seeds"], pong["episodes"]) == ("Pong-v5", 2, 4)
  assert [run["seed"] for run in pong["runs"]] == [0, 1]
  np.testing.assert_allclose([run["hns"] for run in pong["runs"]], [1.0, 0.0], atol=1e-12)
  np.testing.assert_allclose([run["hns"] for run in breakout["runs"]], [0.5, 2.0])
  # sd of two values: their distance / sqrt(2).
  np.testing.assert_allclose([pong["mean"], pong["mean_sd"]], [-3.05, 35.3 / 2**0.5])
  np.testing.assert_allclose([breakout["hns"], breakout["hns_sd"]], [1.25, 1.5 / 2**0.5])
  assert pong["published"]["human"] == 14.6 and pong["published"]["efficientzero_100k"] == 20.1
  over = result["over_tasks"]
  assert (over["tasks"], over["seeds"], over["episodes"]) == (2, [2, 2], 8)
  np.testing.assert_allclose(over["mean"]["value"], (0 + 1 + 0.5 + 2) / 4)
  np.testing.assert_allclose(over["iqm"]["value"], (0.5 + 1) / 2)
  np.testing.assert_allclose(over["optimality_gap"]["value"], (1 + 0 + 0.5 + 0) / 4)
  # Of the mean: from both games' worse seeds, (0 + 0.5) / 2 with a chance of 1/16, to both games'
  # better seeds.
  np.testing.assert_allclose(over["mean"]["interval"], [0.25, 1.5])


def test_every_number_has_its_protocol_games_and_seeds_beside_it(write):
  result = read(write("a", [1.0, 3.0], seed=1), write("b", [2.0], seed=2))
  for place in (*result["tasks"], *result["tasks"][0]["runs"], result["over_tasks"]):
    assert place["protocol"] == "100k" and place["episodes"] > 0 and place["seeds"]
  (line,) = (line for line in aggregate.table(result).splitlines() if "Pong-v5 " in line)
  assert "100k         2        3 " in line  # two seeds, three episodes
  assert (
    "human-normalized (tasks: 1, seeds of each: 2, episodes: 3, protocol 100k):"
    in aggregate.table(result)
  )
  assert "published (no-op starts, not sticky): random -20.7, human 14.6" in aggregate.table(result)
  said = scores.details({"protocol": "100k", **scores.summary([0.0, 1.0], "Pong-v5")})
  assert said == (
    "mean 0.50 [0.00, 1.00], median 0.50 [0.00, 1.00], IQM 0.50 [0.00, 1.00], human-normalized "
    "0.60 [0.59, 0.61] "
    "(protocol 100k, 2 episodes, 1 seed; [95% bootstrap interval over episodes])"
  )
  one = scores.details({"protocol": "own", **scores.summary([4.0], "none")})
  assert one == "mean 4.00, median 4.00, IQM 4.00 (protocol own, 1 episode, 1 seed)"


def test_the_newest_evaluation_of_the_player_and_protocol_counts(write):
  """Whoever wrote last: not the one with the most games, nor the random player's."""
  folder = write("a", [1.0] * 9, [2.0, 4.0], env_steps=1000)
  write("a", [-20.0], agent="random", env_steps=2000)
  write("a", [9.0], protocol="machado", env_steps=2000)
  assert aggregate.newest_evaluation(folder, "trained", "100k").row["returns"] == [2.0, 4.0]
  assert aggregate.newest_evaluation(folder, "trained", "auto").row["returns"] == [9.0]
  assert aggregate.newest_evaluation(folder, "random", "auto").row["returns"] == [-20.0]


def test_greedy_and_sampled_evaluations_are_told_apart(write):
  """The last row is the newest one only where nobody says how the agent is to act."""
  folder = write("a", [1.0])
  write("a", [3.0], protocol="100k-sampled")
  for protocol, acting, expected in (
    ("auto", "auto", 3),
    ("auto", "greedy", 1),
    ("auto", "sampled", 3),
    ("100k", "auto", 1),
    ("100k", "sampled", 3),
  ):
    assert aggregate.newest_evaluation(folder, "trained", protocol, acting).row["returns"] == [
      expected
    ]
  other, greedy = write("b", [2.0], protocol="100k-sampled", seed=1), write("a", [1.0])
  with pytest.raises(ConfigError, match=r"protocol 100k-sampled and .*/a under 100k,"):
    aggregate.check(
      [aggregate.newest_evaluation(name, "trained", "auto") for name in (other, greedy)]
    )
  with pytest.raises(ConfigError, match=r"--protocol=machado --acting=sampled --random\.$"):
    aggregate.newest_evaluation(folder, "random", "machado", "sampled")


def test_games_without_references_have_returns_but_no_normalized_score(write):
  result = read(write("a", [4.0, 6.0], task="Catch-bsuite", seed=0), write("b", [1.0], seed=0))
  catch, pong = result["tasks"]
  assert catch["mean"] == 5.0 and "hns" not in catch and catch["mean_sd"] is None and "hns" in pong
  assert result["over_tasks"]["tasks"] == 1 and result["left_out"] == ["Catch-bsuite"]
  assert "no published references): Catch-bsuite" in aggregate.table(result)
  alone = read(write("a", task="Catch-bsuite"))
  assert alone["over_tasks"] is None and "human-normalized (tasks" not in aggregate.table(alone)


def test_settings_that_differ_are_told(write):
  """Not seeds, games, lengths and machines: those are what one aggregates over, or do not
  matter.
  """
  same = (
    write("a", [1.0], seed=0),
    write("b", [1.0], seed=1, task="Breakout-v5", env_steps=9, cpu_devices=2),
  )
  assert read(*same)["differing"] == []
  other = write("c", [1.0], seed=2, search__kind="puct", learner__batch_size=7)
  assert read(*same, other)["differing"] == ["search.kind", "learner.batch_size"]
  assert "note: the runs differ in --search.kind, --learner.batch_size" in aggregate.table(
    read(*same, other)
  )


def test_refusals_are_one_sentence_with_a_remedy(write, tmp_path):
  pong, sticky, empty = write("a", [1.0]), write("b", [1.0], protocol="machado", seed=1), write("c")
  cases = [
    (
      [pong, sticky],
      "auto",
      r"/a is scored under protocol 100k and .*/b under machado.*: "
      r"leave one out, or .* --protocol\.$",
    ),
    (
      [pong, empty],
      "auto",
      r"^--workdir=.*/c: no evaluation of the trained player in it; "
      r"make one with .* --workdir=.*/c\.$",
    ),
    (
      [pong, sticky],
      "100k",
      r"/b: no evaluation of the trained player under protocol 100k in it; "
      r"make one .* --protocol=100k\.$",
    ),
    (
      [pong, pong],
      "auto",
      r"are both Pong-v5 with seed 0, which would count twice: "
      r"leave one out, or train with another --seed\.$",
    ),
    ([str(tmp_path / "nowhere")], "auto", r"there is no run in it"),
    ([""], "auto", r"^--workdir is missing: name the folder of a run\.$"),
  ]
  for folders, protocol, sentence in cases:
    with pytest.raises(ConfigError, match=sentence):
      read(*folders, protocol=protocol)


@pytest.fixture(autouse=True)
def devices_as_they_are(monkeypatch):
  """Commands choose how many devices there are, which a process can do only once."""
  monkeypatch.setattr(cli, "use_devices", lambda count: None)


def test_the_command_aggregates_without_playing(write, tmp_path, capsys):
  folders = (
    f"{write('a', [1.0, 2.0], seed=0)},{write('b', [3.0], seed=1)}"  # neither has a checkpoint
  )
  path = tmp_path / "result.json"
  command.main(["evaluate", "--aggregate", f"--workdir={folders}", f"--json={path}"])
  assert json.loads(path.read_text())["tasks"][0]["mean"] == 2.25
  assert "Pong-v5 100k" in capsys.readouterr().out
  with pytest.raises(
    ConfigError,
    match=r"^--json=.*: cannot be written \(No such file or directory\).*name another file",
  ):
    command.main(
      ["evaluate", "--aggregate", f"--workdir={folders}", f"--json={tmp_path}/none/result.json"]
    )


def test_the_command_refuses_before_it_plays(write):
  """The second folder's mistake is found before the first one, which could not be played either, is
  looked at any closer.
  """
  pong, full = write("a"), write("b", seed=1, env__full_action_set=True)
  with pytest.raises(ConfigError, match=r"scored under protocol 100k and .* under machado"):
    command.main(["evaluate", f"--workdir={pong},{full}"])
  with pytest.raises(ConfigError, match="use --protocol=machado"):
    command.main(["evaluate", f"--workdir={pong},{full}", "--protocol=100k"])
  with pytest.raises(ConfigError, match="has no checkpoint yet"):
    command.main(["evaluate", f"--workdir={pong}"])


@pytest.mark.long
def test_two_runs_are_played_and_summed_up(make_config, tmp_path, capsys):
  """Runs that are saved before they have learned anything, named by the folder they are in."""
  for seed in (0, 1):
    folder = tmp_path / str(seed)
    folder.mkdir()
    config = make_config(folder, seed=seed, search__kind="none")
    workdir.describe(config, folder)
    with Checkpoints(folder) as checkpoints:
      checkpoints.save(256, {}, build.build(config).shared(), {"nothing": np.zeros(1)})
  path = tmp_path / "result.json"
  command.main(["evaluate", f"--workdir={tmp_path}", "--episodes=5", f"--json={path}"])
  said = capsys.readouterr().out
  assert (
    said.count("returns, protocol own: ") == said.count("(protocol own, 5 episodes, 1 seed;") == 2
  )
  (catch,) = json.loads(path.read_text())["tasks"]
  assert (catch["task"], catch["seeds"], catch["episodes"]) == ("catch", 2, 10)
  assert export.main(["export", f"--workdir={tmp_path}/0"]) is None
  assert "agent.npz (0." in capsys.readouterr().out and (tmp_path / "0" / "agent.md").exists()
  played = [jsonl.read(tmp_path / str(seed) / "evaluations.jsonl")[-1] for seed in (0, 1)]
  assert [run["mean"] for run in catch["runs"]] == [np.mean(row["returns"]) for row in played]
