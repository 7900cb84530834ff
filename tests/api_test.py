"""The package from Python, but for what docs/library.md shows (integration/library_test.py)."""

import subprocess
import sys

import pytest

import muzero_jax
from muzero_jax import api, train
from muzero_jax.config import Config, ConfigError


def test_importing_the_package_imports_nothing_else():
  program = "import sys, muzero_jax; print({'jax', 'numpy', 'absl'} & set(sys.modules))"
  command = [sys.executable, "-c", program]
  assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "set()\n"
  assert muzero_jax.make_config is api.make_config
  with pytest.raises(AttributeError, match="nothing"):
    _ = muzero_jax.nothing


def test_settings_are_those_of_the_command_line():
  dotted = {"search.kind": "puct", "targets.discount": 0.5}
  config = api.make_config("catch", env_steps=2000, video=True, **dotted)
  assert (config.env.kind, config.env_steps, config.video) == ("catch", 2000, True)
  assert (config.search.kind, config.targets.discount, config.replay.warmup) == ("puct", 0.5, 2048)
  assert api.make_config() == Config()


@pytest.mark.parametrize(
  ("preset", "settings", "said"),
  [
    ("cach", {}, "did you mean catch"),
    ("", {"env.steps": 3}, "env.steps"),
    ("", {"env_steps": 0}, "at least 1"),
    ("", {"env_steps": "many"}, "many"),
    ("catch", {"network.kind": "resnet"}, "use --network.kind=mlp"),
  ],
)
def test_settings_that_cannot_be(preset, settings, said):
  with pytest.raises(ConfigError, match=said):
    api.make_config(preset, **settings)


@pytest.mark.parametrize(("number", "error"), [(2, KeyboardInterrupt), (15, SystemExit)])
def test_a_run_that_was_stopped_stops_its_caller(monkeypatch, number, error):
  monkeypatch.setattr(train, "train", lambda config: 128 + number)
  with pytest.raises(error):
    api.train_agent(Config())
