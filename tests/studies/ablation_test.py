"""What an ablation compares, and its numbers by hand; the command is in tests/integration."""

import json
from pathlib import Path

import numpy as np
import pytest

from launch import ablation as command
from muzero_jax import config as configs
from muzero_jax import flags
from muzero_jax.config import Config, ConfigError, FailedError
from muzero_jax.runs import jsonl
from muzero_jax.studies import ablation, completion, series, variants

CATCH = flags.parse(["train", "--preset=catch"], Config())  # with 4 simulations


def write_run(config: Config, rates=(10.0, 10.0)) -> None:
  """Writes a finished run with two rows of metrics, at these rates in steps per second."""
  folder = Path(config.workdir)
  folder.mkdir(parents=True)
  (folder / "config.json").write_text(json.dumps({"config": configs.values(config)}))
  for share, rate in zip([0.5, 1], rates, strict=True):
    steps = int(config.env_steps * share)
    row = {"env_steps": steps, "env_steps_per_second": rate, "episode/return": 0.5}
    jsonl.append(folder / "metrics.jsonl", row)
  evaluate(config, config.env_steps)


def evaluate(config: Config, env_steps: int, **changes) -> None:
  """Writes an evaluation of the run after so many steps; `changes` are in its row."""
  score = {"mean": 1.0, "median": 1.0, "iqm": 1.0, "episodes": config.evaluation.episodes}
  row = {"agent": "trained", "env_steps": env_steps, "protocol": "own", "task": "catch"}
  jsonl.append(Path(config.workdir) / "evaluations.jsonl", row | score | changes)


def changes(config: Config) -> dict:
  """The settings that differ from those of the preset."""
  before = configs.values(CATCH)
  return {name: x for name, x in configs.values(config).items() if x != before[name]}


def test_the_preset_is_always_compared_with():
  compared = variants.variants_of(
    CATCH,
    only=["priorities"],
    vary=["search.num_simulations=2,4", "env.life_loss_ends_return=true"],
    ideas=["reanalysis", "reanalysis+ideas/prioritized"],
  )
  fresh = {"targets.reanalyse": 1.0}
  assert {name: changes(config) for name, config in compared.variants.items()} == {
    "as it is": {},
    "priorities": {"replay.kind": "prioritized"},
    "search.num_simulations=2": {"search.num_simulations": 2},
    "env.life_loss_ends_return=true": {"env.life_loss_ends_return": True},
    "reanalysis": fresh,
    "reanalysis+ideas/prioritized": fresh | {"replay.kind": "prioritized"},
  }
  assert next(iter(compared.variants)) == "as it is"
  assert compared.left_out == ("left out: search.num_simulations=4 (the preset as it is)",)


def test_what_the_preset_has_already_is_taken_away():
  base = configs.replace(CATCH, {"replay.kind": "prioritized"})
  compared = variants.variants_of(base, only=["as it is", "priorities"])
  assert compared.variants["no priorities"].replay.kind == "uniform"
  assert list(compared.variants) == ["as it is", "no priorities"]


def test_settings_that_cannot_be_combined_are_left_out():
  (sentence,) = variants.variants_of(CATCH, vary=["evaluation.episodes=0"]).left_out
  assert "--evaluation.episodes=0 leaves nothing to compare" in sentence
  (sentence,) = variants.variants_of(CATCH, vary=["learner.shift=2"]).left_out
  assert sentence.startswith("left out: learner.shift=2 (--learner.shift would shift catch's board")


@pytest.mark.parametrize(
  ("words", "said"),
  [
    ({"vary": ["serch.kind=puct"]}, "no setting --serch.kind; did you mean search.kind?"),
    ({"vary": ["search.kind"]}, "--vary=search.kind: write NAME=VALUE,VALUE,..., for example"),
    ({"vary": ["search.kind=,"]}, "write NAME=VALUE,VALUE"),
    ({"vary": ["search.kind=alpha"]}, "--search.kind=alpha: must be one of"),
    ({"vary": ["env.num_envs=many"]}, "--env.num_envs=many"),
    ({"vary": ["seed=1,2"]}, "--seed cannot be varied; --seeds sets the seeds."),
    (
      {"ideas": ["reanalyse"]},
      "--ideas=reanalyse: there is no such idea; did you mean reanalysis?",
    ),
    ({"only": ["8"]}, "--only=8: there is no such variant; there are as it is, 0 simulations"),
  ],
)
def test_a_mistake_is_one_sentence(words, said):
  with pytest.raises(ConfigError) as caught:
    variants.variants_of(CATCH, **words)
  assert said in str(caught.value) and "\n" not in str(caught.value)


def test_an_ablation_without_anything_to_compare_is_refused():
  words = ["--preset=catch", "--workdir=x", "--vary=env.stack=2,4", "--vary=targets.unroll=1"]
  options = flags.parse(["ablation", *words], command.Options())
  assert options.vary == ("env.stack=2,4", "targets.unroll=1")
  compared = variants.comparison(CATCH, [], options.vary, [])
  assert list(compared.variants) == ["as it is", "env.stack=2", "env.stack=4", "targets.unroll=1"]
  everything = variants.comparison(CATCH, [], (), [])
  assert {"as it is", "0 simulations", "priorities"} <= everything.variants.keys()
  with pytest.raises(ConfigError, match=r"nothing is left to compare .* --vary, --ideas or --only"):
    variants.comparison(CATCH, [], ("search.kind=gumbel",), [])


def test_folders_have_names_that_flags_can_take():
  assert variants.folder_name("Q per node") == "Q_per_node"
  assert variants.folder_name("env.task=a/b,c") == "env.task=a_b_c"
  first, second = variants.runs(CATCH, "Q per node", "there", [3, 4])
  assert (first.workdir, first.seed, second.workdir) == (
    "there/Q_per_node/3",
    3,
    "there/Q_per_node/4",
  )


def test_the_time_left_of_all_runs():
  """Of 10 runs 4 are over, one of which was found finished: 3 took 60 s. Half of the fifth is
  done: 5.5 remain, at (60 + 10) s for 3.5 runs.
  """
  progress = series.SeriesProgress(runs=10, over=4, trained=3.0, seconds=60.0)
  assert progress.left() == ", about 2 min left"  # 6 runs of 20 s
  progress.trained, progress.seconds = 3.5, 70.0
  assert progress.left(0.5) == ", about 2 min left"  # 110 s
  assert series.SeriesProgress(runs=3).left() == ""
  assert series.SeriesProgress(runs=3, over=3, trained=3.0, seconds=9.0).left() == ""


def test_a_finished_run_has_the_settings_the_length_and_an_evaluation(tmp_path):
  config = configs.replace(CATCH, {"workdir": str(tmp_path), "env_steps": 100})
  assert not completion.finished(config) and completion.done(config) == 0
  (tmp_path / "config.json").write_text(json.dumps({"config": configs.values(config)}))
  jsonl.append(tmp_path / "metrics.jsonl", {"env_steps": 25})
  assert not completion.finished(config) and completion.done(config) == 0.25
  evaluate(config, 64)
  assert not completion.finished(config)
  evaluate(config, 128)
  assert completion.finished(config)
  assert not completion.finished(configs.replace(config, {"env_steps": 200}))
  assert not completion.finished(configs.replace(config, {"search.num_simulations": 5}))


@pytest.mark.parametrize(
  "other",
  [
    dict(env_steps=60, mean=3.0),  # of an older checkpoint
    dict(protocol="own-sampled", mean=3.0),
    dict(task="Breakout-MinAtar", mean=3.0),
    dict(episodes=1, mean=3.0),
    dict(agent="random", mean=3.0),
  ],
)
def test_only_the_evaluation_that_was_asked_for_counts(tmp_path, other):
  """Not another one that was made later, with `launch.evaluate`; alone it finishes no run."""
  config = configs.replace(CATCH, {"workdir": str(tmp_path), "env_steps": 100})
  (tmp_path / "config.json").write_text(json.dumps({"config": configs.values(config)}))
  evaluate(config, **{"env_steps": 128} | other)
  assert completion.evaluated(config) is None
  evaluate(config, 128)
  evaluate(config, **{"env_steps": 128} | other)
  found = completion.evaluated(config)
  assert found and found.row["mean"] == 1
  assert ablation.score([found])["mean"] == 1


def test_a_variant_that_fails_does_not_keep_the_others_from_being_compared(tmp_path, monkeypatch):
  """The preset itself fails, and one of three seeds of the second variant. Folders are absolute,
  although --workdir begins with ~.
  """

  def train(groups, progress, parallel):
    for run in (run for group in groups for run in group):
      if run.search.num_simulations == 4 or (run.search.num_simulations, run.seed) == (2, 1):
        progress.failed.append(run.workdir)
      else:
        write_run(run)

  monkeypatch.setattr(series, "train", train)
  monkeypatch.setenv("HOME", str(tmp_path.parent))
  folder = f"~/{tmp_path.name}"
  words = ["--preset=catch", f"--workdir={folder}", "--vary=search.num_simulations=2,8"]
  with pytest.raises(FailedError) as caught:
    command.main(["ablation", *words, "--seeds=3"])
  failed = [
    *(f"{tmp_path}/as_it_is/{seed}" for seed in (0, 1, 2)),
    f"{tmp_path}/search.num_simulations=2/1",
  ]
  assert str(caught.value).startswith(f"these runs failed: {', '.join(failed)}. ")
  text = (tmp_path / "ablation.md").read_text()
  assert "| search.num_simulations=2 | 0.50 ± 0.00 | 1.00 ± 0.00 | 1.00, 1.00 | 10 |" in text
  assert "| 1.00, 1.00, 1.00 | 10 |" in text and "| as it is |" not in text
  assert "seeds 0, 1, 2, protocol" in text
  assert f"Failed, and not in the table: {', '.join(f'`{name}`' for name in failed)}." in text


def test_late_training_games_by_hand():
  """Of 100 steps the last quarter: 70..90 with 2.0 and 90..100 with 5.0."""
  assert ablation.late([70, 90, 100], [9.0, 2.0, 5.0], 100) == pytest.approx(3.0)
  assert ablation.late([70, 90], [9.0, 2.0], 100) == 2
  assert np.isnan(ablation.late([50, 70], [9.0, 2.0], 100)) and np.isnan(ablation.late([], [], 100))
  assert ablation.in_words([1.0, 3.0]) == "2.00 ± 1.41" and ablation.in_words([1.0]) == "1.00"


def test_a_seed_without_a_finished_episode_is_left_out_and_counted():
  nan = float("nan")
  assert ablation.in_words([1.0, nan, 3.0]) == "2.00 ± 1.41 (2 of 3 seeds)"
  assert ablation.in_words([1.0, nan]) == "1.00 (1 of 2 seeds)" and ablation.in_words([nan]) == "-"


def test_the_speed_is_the_median_over_the_rows_of_all_seeds(tmp_path):
  """Of the rates 1, 10, 1,000 and 3,000 per second it is (10 + 1,000) / 2."""
  runs = variants.runs(CATCH, "it", str(tmp_path), (0, 1))
  for run, rates in zip(runs, [(1.0, 3000.0), (1000.0, 10.0)], strict=True):
    write_run(run, rates)
  found = ablation.score(completion.evaluations(runs))
  assert found["speed"] == 505.0 and found["training"] == [0.5, 0.5]
  (row,) = ablation.table({"as it is": found}).splitlines()[2:]
  assert row == "| as it is | 0.50 ± 0.00 | 1.00 ± 0.00 | 1.00, 1.00 | 505 |"
