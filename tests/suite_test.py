"""A suite of games: which runs it plans, and how it goes on."""

import dataclasses

import pytest

from launch import series, suite
from muzero_jax.config import ConfigError
from tests.reporting.common import metric_rows, score, write_run


def words(folder, *more):
  return ["suite", "--preset=atari100k_cpu", f"--workdir={folder}", *more]


def test_sets_of_games():
  assert len(suite.tasks("atari26", "envpool")) == 26
  assert len(suite.tasks("atari57", "envpool")) == 57
  assert suite.tasks("Pong-v5, atari26", "envpool").count("Pong-v5") == 1
  assert suite.tasks("minatar", "gymnax")[1] == "Breakout-MinAtar"


@pytest.mark.parametrize(
  ("more", "said"),
  [
    ([], "--games is missing"),
    (["--games=minatar"], "--games=minatar: these are games of --env.kind=gymnax"),
    (["--games=Pong-v5", "--seeds=2", "--index=2"], "--index=2: there are 2 runs; use 0 to 1"),
    (["--games=Pong-v5,Krull"], "--env.task=Krull: .* did you mean Krull-v5"),
    (["--games=Pong-v5", "--evaluation.episodes=0"], "--evaluation.episodes=0"),
  ],
)
def test_mistakes_are_one_sentence(more, said, tmp_path):
  with pytest.raises(ConfigError, match=said):
    suite.main(words(tmp_path, *more))


def test_all_runs_are_trained_then_scored(tmp_path, monkeypatch, capsys):
  """Two games and two seeds; the trainer is replaced by one that writes finished runs."""
  trained = []

  def train(runs, pace):
    (config,) = runs
    trained.append((config.env.task, config.seed))
    mean = {"Pong-v5": -20.7, "Breakout-v5": 30.5}[config.env.task]  # random play, and a human
    row = score(mean, task=config.env.task, returns=[mean])
    changed = {"env__task": config.env.task, "seed": config.seed}
    write_run(tmp_path / config.env.task / str(config.seed), metric_rows([mean]), [row], **changed)

  monkeypatch.setattr(series, "train", train)
  suite.main(words(tmp_path, "--games=Pong-v5,Breakout-v5", "--seeds=2", "--index=3"))
  assert trained == [("Breakout-v5", 1)] and not (tmp_path / "suite.json").exists()
  for path in (tmp_path / "Breakout-v5" / "1").iterdir():
    path.unlink()
  (tmp_path / "Breakout-v5" / "1").rmdir()
  suite.main(words(tmp_path, "--games=Pong-v5,Breakout-v5", "--seeds=2"))
  assert trained[1:] == [(game, seed) for game in ("Pong-v5", "Breakout-v5") for seed in (0, 1)]
  said = capsys.readouterr().out
  assert "Pong-v5" in said and "Breakout-v5" in said
  assert (tmp_path / "suite.json").exists() and (tmp_path / "report.html").exists()


def test_seeds_of_games_in_jax_are_trained_side_by_side(tmp_path):
  """Not those of EnvPool's games, nor different games; a gap between the seeds parts them."""
  pytest.importorskip("gymnax")
  words = ["suite", f"--workdir={tmp_path}", "--games=minatar", "--seeds=3"]
  _, runs = suite.planned([*words, "--preset=minatar_breakout"])
  groups = series.groups(runs)
  assert [(group[0].env.task, len(group)) for group in groups] == [(x, 3) for x in suite.MINATAR]
  assert [run.seed for run in groups[0]] == [0, 1, 2]
  assert list(map(len, series.groups([runs[0], runs[2], runs[3]]))) == [1, 1, 1]
  _, pong = suite.planned(["suite", f"--workdir={tmp_path}", "--games=Pong-v5", "--seeds=2"])
  assert list(map(len, series.groups(pong))) == [1, 1]


def test_a_run_has_the_settings_of_the_preset(tmp_path):
  _, runs = suite.planned(words(tmp_path, "--games=Qbert-v5", "--seed=7", "--seeds=1"))
  [config] = runs
  assert (config.env.task, config.seed) == ("Qbert-v5", 7)
  assert config.workdir == f"{tmp_path}/Qbert-v5/7"
  assert dataclasses.replace(config.env, task="Breakout-v5").frame_size == 48
