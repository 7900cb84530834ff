"""Settings: their names, ranges and differences; flags made from them."""

import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muzero_jax import config as configs
from muzero_jax import flags, rules
from muzero_jax.config import Config, ConfigError
from tests import fuzz

PRESETS = pathlib.Path(__file__).parent.parent / "launch" / "presets"


# No search: `ideas/dqn.flags`, without what may have any value.
DQN = {
  "search.kind": "q",
  "targets.unroll": 0,
  "targets.bootstrap": "q_double",
  "loss.q": 1.0,
  "loss.reward": 0.0,
  "loss.value": 0.0,
  "loss.policy": 0.0,
}


def parse(*words: str) -> Config:
  return flags.parse(["train", *words], Config())


def test_names_promised_to_users():
  names = configs.values(Config())
  promised = [
    "workdir",
    "seed",
    "env_steps",
    "env.task",
    "env.num_envs",
    "search.kind",
    "search.num_simulations",
  ]
  for name in [
    *promised,
    "learner.batch_size",
    "replay.capacity",
    "override_config",
    "checkpoint.replay",
  ]:
    assert name in names


def test_flags_reach_the_configuration():
  config = parse(
    "--search.kind=puct",
    "--env.num_envs=3",
    "--optimizer.learning_rate=0.5",
    "--video",
    "--noenv.fire_reset",
  )
  assert (config.search.kind, config.env.num_envs, config.optimizer.learning_rate) == (
    "puct",
    3,
    0.5,
  )
  assert config.video and not config.env.fire_reset
  assert parse() == Config()


def test_the_old_name_of_a_flag_is_understood_and_said(capsys):
  config = parse("--env.colour", "--targets.trace=0.5")
  assert config.env.color and config.targets.td_lambda == 0.5
  said = capsys.readouterr().err
  assert "note: --env.colour is now called --env.color; the old name will be removed.\n" in said
  assert "note: --targets.trace is now called --targets.td_lambda" in said


def test_later_flags_win_over_a_flagfile(tmp_path):
  (tmp_path / "a.flags").write_text("# a comment\n--env.num_envs=3\n--seed=4\n")
  config = parse(f"--flagfile={tmp_path}/a.flags", "--seed=5")
  assert (config.env.num_envs, config.seed) == (3, 5)


@pytest.mark.parametrize(
  ("words", "said"),
  [
    (["--serch.kind=puct"], "search.kind"),
    (["--search.kind=alpha"], "--search.kind=alpha: must be one of gumbel, puct, none, q"),
    (["--search.num_simulations=0"], "--search.num_simulations=0: must be at least 1"),
    (["--targets.discount=1.5"], "--targets.discount=1.5: must be at most 1"),
    (["--targets.discount=nan"], "must be a finite number"),
    (["--optimizer.learning_rate=inf"], "must be a finite number"),
    (["--env.num_envs=many"], "--env.num_envs=many"),
    (["--skip_nonfinite=10000000000"], "--skip_nonfinite=10000000000: must be at most 2147483647."),
    (["--network.support=1000000000"], "--network.support=1000000000: must be at most 100000."),
    (["--video=7"], "--video=7"),
    (["--flagfile=nowhere.flags"], "nowhere.flags"),
    (["Pong-v5"], "'Pong-v5' is not a flag"),
  ],
)
def test_a_bad_flag_is_one_sentence_that_names_it(words, said):
  with pytest.raises(ConfigError) as caught:
    parse(*words)
  assert said in str(caught.value)
  assert "\n" not in str(caught.value)


@fuzz.fuzz
@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_whatever_stands_in_a_flag_file(tmp_path, text):
  """Flags, or one sentence."""
  (tmp_path / "a.flags").write_bytes(text)
  for words in (text, b"--seed=1\n--" + text, b"--workdir=" + text, b"--targets.discount=" + text):
    (tmp_path / "a.flags").write_bytes(words)
    try:
      assert isinstance(parse(f"--flagfile={tmp_path}/a.flags"), Config)
    except ConfigError as error:
      assert "\n" not in str(error)
    except SystemExit as error:  # --help
      assert error.code == 0


def test_flag_files_that_include_each_other(tmp_path, capsys):
  (tmp_path / "a.flags").write_text(f"--flagfile={tmp_path}/b.flags\n--seed=3\n")
  (tmp_path / "b.flags").write_text(f"--flagfile={tmp_path}/a.flags\n")
  assert parse(f"--flagfile={tmp_path}/a.flags").seed == 3


@pytest.mark.parametrize(
  "settings",
  [
    {"env.kind": "catch"},
    {"loss.reward": 0.0, "loss.value": 0.0, "loss.policy": 0.0},
    {"env.kind": "catch", "network.kind": "mlp", "learner.shift": 2},
    {"evaluation.protocol": "100k", "env.full_action_set": True},
  ],
)
def test_settings_that_do_not_go_together(settings):
  with pytest.raises(ConfigError, match="--"):
    rules.check(configs.replace(Config(), settings))


@pytest.mark.parametrize(
  ("settings", "said"),
  [
    ({"loss.policy_gradient": 1.0}, "--loss.policy_gradient"),
    ({"loss.reconstruction": 1.0, "learner.shift": 2}, "--loss.reconstruction cannot show"),
    ({"loss.pretrain": 9}, "--loss.pretrain needs a loss without rewards"),
    (
      {"loss.pretrain": 9, "loss.reconstruction": 1.0, "loss.reconstruction_until": 5},
      "--loss.pretrain lasts longer",
    ),
    ({"loss.short_value": 1.0, "loss.short_discount": 1.0}, "--loss.short_discount=1.0"),
    ({"targets.correction": "vtrace"}, "--targets.correction=vtrace compares with the policy"),
    (
      {"targets.correction": "retrace", "targets.bootstrap": "target"},
      "--targets.correction=retrace needs the probability",
    ),
    (
      {"search.kind": "puct", "search.qtransform": "advantage"},
      "--search.qtransform=advantage is not for --search.kind=puct",
    ),
    (
      {"search.kind": "puct", "search.qtransform": "skill"},
      "--search.qtransform=skill is not for --search.kind=puct",
    ),
    ({"search.kind": "none", "search.qtransform": "tree"}, "--search.qtransform=tree needs a tree"),
    ({"search.kind": "none", "search.qtransform": "node"}, "--search.qtransform=node needs a tree"),
    ({"search.kind": "puct", "search.tree": "rounds"}, "--search.tree=rounds needs sequential"),
    ({"search.kind": "none", "search.tree": "rounds"}, "--search.tree=rounds needs sequential"),
    ({"search.improvement": "all"}, "--search.improvement=all is for --search.kind=puct"),
    ({"search.equivalence": 0.1, "search.kind": "none"}, "--search.equivalence saves simulations"),
    ({"search.goal_share": 0.5}, "--search.goal_share needs a model that jumps"),
    ({"loss.jump": 1.0, "targets.unroll": 3}, "--loss.jump_steps=5: jumps are learned from"),
    (
      {"loss.jump": 1.0, "loss.value_prefix": 1.0, "loss.reward": 0.0},
      "--loss.jump passes over the steps",
    ),
    ({"search.second_share": 0.5}, "--search.second_share needs a second value"),
    ({"search.optimism": 0.5}, "--search.optimism and --search.focus need a predicted"),
    ({"search.focus": True}, "--search.optimism and --search.focus need a predicted"),
    (
      {"search.focus": True, "loss.uncertainty": 1.0, "loss.q_search": 1.0},
      "--loss.q_search needs the Q of a search, and --search.focus",
    ),
    (
      {"targets.correction": "vtrace", "targets.bootstrap": "target", "search.acting": "sample"}
      | {"loss.policy": 0.0},
      "--targets.correction=vtrace needs the policy head, which no loss trains",
    ),
    (DQN | {"targets.bootstrap": "search"}, "--targets.bootstrap=search needs a search"),
    (DQN | {"log_drift": True}, "--targets.unroll=0 has no steps along which --log_drift"),
    (
      {"search.focus": True, "loss.uncertainty": 1.0, "search.kind": "none"},
      "--search.focus spends the simulations",
    ),
    (
      {"search.focus": True, "loss.uncertainty": 1.0, "search.optimism": 1.0},
      "--search.focus and --search.optimism are two",
    ),
    ({"network.bins": 50}, "--network.bins=50: must be odd"),
    ({"search.kind": "q"}, "--search.kind=q needs a Q head"),
    ({"targets.bootstrap": "q_max"}, "--targets.bootstrap=q_max needs a Q head"),
    (DQN | {"loss.q_search": 1.0}, "--loss.q_search needs the Q of a search"),
    (
      {
        "targets.correction": "vtrace",
        "targets.bootstrap": "target",
        "search.acting": "sample",
        "loss.q": 1.0,
      },
      "--loss.q learns returns of the action taken",
    ),
    ({"search.q_prior": 0.1}, "--search.q_prior needs a Q head that is trained: use --loss.q=1"),
    (DQN | {"search.qtransform": "skill"}, "--search.qtransform=skill improves a prior"),
    ({"targets.unroll": 0}, "--targets.unroll=0 leaves the model untrained"),
    (DQN | {"loss.reward": 1.0}, "--targets.unroll=0 has no steps for --loss.reward"),
    (DQN | {"loss.consistency": 1.0}, "--targets.unroll=0 has no steps for --loss.reward"),
    (DQN | {"targets.bootstrap": "target"}, "--targets.bootstrap=target needs the value head"),
    (DQN | {"replay.kind": "prioritized"}, "--replay.kind=prioritized needs the error"),
    ({"loss.value_prefix": 1.0}, "--loss.value_prefix takes the place of single rewards"),
    ({"targets.anneal": 9, "targets.n_step": 20}, "--targets.first_n_step=10: n falls"),
    ({"targets.anneal": 9, "targets.discount": 1.0}, "--targets.first_discount=0.97: the discount"),
    ({"targets.novelty": 1.0}, "--targets.novelty needs a predictor"),
    ({"network.uncertainty": "ensemble"}, "--network.uncertainty=ensemble is not learned"),
    ({"replay.anneal": True}, "--replay.anneal is about importance weights"),
  ],
)
def test_a_refusal_is_one_sentence_that_names_the_flag(settings, said):
  with pytest.raises(ConfigError) as caught:
    rules.check(configs.replace(Config(), settings))
  sentence = str(caught.value)
  assert sentence.startswith(said) and sentence.endswith(".")
  assert "\n" not in sentence and ". " not in sentence


@pytest.mark.parametrize(
  "settings",
  [
    {"loss.policy_gradient": 1.0, "search.acting": "sample"},
    {"targets.correction": "vtrace", "targets.bootstrap": "target", "search.kind": "none"},
    {"loss.policy_gradient": 1.0, "search.kind": "puct"},
    {"loss.policy_gradient": 1.0, "search.kind": "none", "search.qtransform": "skill"},
    {"search.kind": "puct", "search.qtransform": "node", "search.unvisited": "zero"},
    {"search.qtransform": "tree"},
    {"search.tree": "rounds", "search.acting": "sample"},
    {"search.qtransform": "advantage"},
    {"network.bins": 51},
    DQN,
    DQN | {"replay.kind": "prioritized", "loss.value": 0.25, "targets.reanalyse": 1.0},
    {"search.kind": "q", "loss.q": 1.0, "loss.policy_gradient": 1.0, "loss.consistency": 1.0},
    {"loss.q_search": 1.0, "targets.bootstrap": "q_double"},
    {"targets.bootstrap": "search", "search.kind": "none"},
  ],
)
def test_settings_that_go_together(settings):
  rules.check(configs.replace(Config(), settings))


def test_help_lists_every_flag_with_its_default(capsys):
  with pytest.raises(SystemExit) as caught:
    parse("--help")
  assert caught.value.code == 0
  text = capsys.readouterr().out
  for name, value in configs.values(Config()).items():
    assert f"--{name}={str(value).lower() if isinstance(value, bool) else value}\n" in text


def test_differences_name_flag_and_both_values():
  old, new = (
    Config(),
    configs.replace(
      Config(), {"search.kind": "puct", "env_steps": 5, "log_every": 7, "checkpoint.keep": 9}
    ),
  )
  assert configs.differences(old, new) == ["--search.kind: was gumbel, now puct"]


def test_a_flag_before_a_preset_that_has_it_is_said(capsys):
  words = ["--env_steps=7", "--seed=3", "--preset=catch", "--log_every=9", "--preset=ideas/dqn"]
  assert flags.parse(["train", *words], Config()).env_steps == 240_000
  assert capsys.readouterr().err == (
    "note: --preset=catch comes after --env_steps=7 and sets it to 240000; give the preset first.\n"
  )
  flags.parse(["train", "--preset=catch", "--env_steps=7"], Config())
  assert not capsys.readouterr().err


def test_the_names_on_a_command_line():
  """Of a switch that is turned off, the name that it has when it is turned on."""
  words = ["train", "--preset=catch", "--novideo", "--nocheckpoint.replay", "--env.noop_max=3", "x"]
  assert flags.names(words) == {"preset", "video", "checkpoint.replay", "env.noop_max"}


def test_unknown_settings_are_refused():
  with pytest.raises(ConfigError, match=r"--search\.nothing"):
    configs.replace(Config(), {"search.nothing": 1})


@pytest.mark.parametrize("preset", sorted(PRESETS.glob("*.flags")), ids=lambda path: path.stem)
def test_presets_are_valid(preset):
  rules.check(parse(f"--flagfile={preset}"))


@pytest.mark.parametrize(
  "idea", sorted((PRESETS / "ideas").glob("*.flags")), ids=lambda path: path.stem
)
def test_ideas_add_to_a_preset(idea):
  """Each changes what the preset says, and says nothing of what makes a run: game, sizes, steps."""
  base = parse(f"--flagfile={PRESETS / 'catch.flags'}")
  config = parse(f"--flagfile={PRESETS / 'catch.flags'}", f"--flagfile={idea}")
  rules.check(config)
  assert config != base
  assert (config.env, config.env_steps) == (base.env, base.env_steps)


def test_the_quick_start_searches_with_a_tree():
  """It is MuZero that `launch/run.sh` shows, and the policy gradient knows what it acted by."""
  quick = parse(f"--flagfile={PRESETS / 'quickstart.flags'}")
  assert quick.search.kind == "gumbel" and quick.search.acting == "sample"
  assert quick.video
