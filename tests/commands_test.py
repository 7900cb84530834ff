"""What comes before a command's work: which one, which preset, and how mistakes end."""

import json
import subprocess
import sys

import pytest

from launch import __main__ as program
from launch import cli, train
from muzero_jax import config as configs
from muzero_jax import flags, together
from muzero_jax import train as training
from muzero_jax.config import Config, ConfigError, DivergedError, StorageError
from muzero_jax.runs import signals
from tests.reporting.common import write_run


def ended(monkeypatch, capsys, *words):
  """The exit code of `muzero-jax words`, and what it printed."""
  monkeypatch.setattr(sys, "argv", ["muzero-jax", *words])
  monkeypatch.setattr(sys, "path", list(sys.path))
  with pytest.raises(SystemExit) as caught:
    program.main()
  return caught.value.code, *capsys.readouterr()


def test_every_command_is_listed(monkeypatch, capsys):
  code, said, _ = ended(monkeypatch, capsys, "--help")
  assert code == 0
  for name in ("train", "evaluate", "report", "ablation", "video", "benchmark"):
    assert f"\n  {name} " in said
  assert not {"cli", "settings", "__main__"} & program.commands().keys()
  assert ended(monkeypatch, capsys)[0] == 2


def test_a_commands_flags_reach_it(monkeypatch, capsys):
  code, said, _ = ended(monkeypatch, capsys, "train", "--help")
  assert code == 0 and said.startswith("Trains an agent")
  assert "--preset=NAME" in said and "pong_cpu" in said
  assert "--preset" not in ended(monkeypatch, capsys, "video", "--help")[1]


@pytest.mark.parametrize(
  ("words", "said"),
  [
    (["trian"], "'trian' is not a command; did you mean train? There are ablation, "),
    (
      ["train", "--preset=pnog_cpu"],
      "--preset=pnog_cpu: there is no such preset; did you mean pong_cpu? There are atari100k, ",
    ),
    (["train", "--preset", "nothing"], "--preset=nothing: there is no such preset. There are "),
    (["video", "--preset=catch"], "Unknown command line flag 'preset'"),
    (["train", "--preset=catch"], "--workdir is missing"),
  ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(monkeypatch, capsys, words, said):
  monkeypatch.setattr(cli, "use_devices", lambda count: None)
  code, _, error = ended(monkeypatch, capsys, *words)
  assert code == 2
  assert error.startswith(f"error: {said}") and error.count("\n") == 1


def test_a_run_that_diverged_ends_with_exit_code_1(capsys):
  def main(argv):
    raise DivergedError("The loss became nan.")

  with pytest.raises(SystemExit) as caught:
    cli.run(main)
  assert caught.value.code == 1 and capsys.readouterr().err == "error: The loss became nan.\n"


@pytest.mark.parametrize(
  ("error", "code", "said"),
  [
    (StorageError("it is full."), 1, "error: it is full.\n"),
    (
      OSError(28, "No space left on device", "run/x"),
      1,
      "error: run/x: No space left on device.\n",
    ),
    (KeyboardInterrupt(), 130, "stopped by SIGINT.\n"),
    (signals.Stopped(143), 143, "stopped by SIGTERM.\n"),
  ],
)
def test_other_ends_of_a_command_are_one_line(error, code, said, capsys):
  def main(argv):
    raise error

  with pytest.raises(SystemExit) as caught:
    cli.run(main)
  assert (caught.value.code, capsys.readouterr().err) == (code, said)


@pytest.mark.parametrize(("reader", "code"), [("true", 128 + 13), ("cat > /dev/full", 0)])
def test_an_output_that_nobody_takes(reader, code):
  """The command goes on to its end; if its reader has left, that is its exit code."""
  program = (
    "import time; from launch import cli; "
    "cli.run(lambda argv: [(time.sleep(0.1), print(i * 'x', flush=True)) for i in range(5)] and 0)"
  )
  place = f"| {reader}" if reader == "true" else "> /dev/full"
  line = f'{sys.executable} -c "{program}" {place}; exit ${{PIPESTATUS[0]}}'
  found = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
  assert (found.returncode, found.stderr) == (code, "")


@pytest.mark.parametrize(
  ("words", "expected"),
  [
    ([], (7, 1000, 3)),
    (["--env_steps=2000"], (7, 2000, 3)),
    (["--search.num_simulations=5"], (7, 1000, 5)),
    (["--preset=catch"], (0, 240_000, 4)),  # a preset stands for all settings
  ],
)
def test_a_run_goes_on_with_its_own_settings(words, expected, tmp_path, monkeypatch, capsys):
  """Seed, length and simulations; those of the run in the folder where no flag names others."""
  own = {"seed": 7, "env_steps": 1000, "search.num_simulations": 3}
  saved = configs.values(configs.replace(Config(), own))
  (tmp_path / "config.json").write_text(json.dumps({"config": saved}))
  monkeypatch.setattr(cli, "use_devices", lambda count: None)
  trained = []
  monkeypatch.setattr(training, "train", lambda config: trained.append(config) or 0)
  assert train.main(["train", f"--workdir={tmp_path}", *words]) == 0
  (config,) = trained
  assert (config.seed, config.env_steps, config.search.num_simulations) == expected
  assert config.workdir == str(tmp_path)
  assert ("those of the run in" in capsys.readouterr().out) == (expected[0] == 7)


def test_a_folder_without_a_run_is_not_gone_on_with(tmp_path, monkeypatch):
  """Nothing is trained by mistake; a flag that says what to learn begins a run."""
  monkeypatch.setattr(cli, "use_devices", lambda count: None)
  monkeypatch.setattr(training, "train", lambda config: 0)
  with pytest.raises(ConfigError, match=r"no run in it to go on with; .* --preset=quickstart or"):
    train.main(["train", f"--workdir={tmp_path}", "--env_steps=2000"])
  assert train.main(["train", f"--workdir={tmp_path}", "--env.task=Pong-v5"]) == 0


def test_several_seeds_go_on_with_the_settings_of_the_first(monkeypatch, tmp_path, capsys):
  trained = []
  monkeypatch.setattr(together, "train", lambda *given: trained.append(given) or 0)
  write_run(tmp_path / "3", [], [], env__kind="catch", network__kind="mlp", seed=3)
  words = ["train", f"--workdir={tmp_path}", "--seed=3", "--seeds=2", "--env_steps=999"]
  assert train.main(words) == 0
  ((config, seeds),) = trained
  assert (config.env.kind, config.workdir, config.env_steps) == ("catch", str(tmp_path), 999)
  assert list(seeds) == [3, 4]
  assert f"settings: those of the run in {tmp_path}/3" in capsys.readouterr().out


def test_later_flags_win_over_a_preset():
  assert flags.parse(["train", "--preset=catch"], Config()).env.num_envs == 64
  config = flags.parse(["train", "--seed=3", "--preset=catch", "--env.num_envs=5"], Config())
  assert (config.seed, config.env.kind, config.env.num_envs) == (3, "catch", 5)
  with pytest.raises(ConfigError, match="no such preset"):
    flags.preset("../presets/catch")
