"""`launch.compile` itself, with this machine's CPU in place of a chip that is described."""

import json

import jax
import pytest

from launch import compile as command
from muzero_jax import build
from muzero_jax.config import ConfigError
from muzero_jax.device import chips, parallel

WORDS = ["compile", "--preset=catch", "--env.num_envs=8", "--learner.batch_size=16"]


def test_a_run_is_described_in_words_and_in_json(monkeypatch, tmp_path, capsys):
  """Every part of the printed report, and the same figures in the file."""
  cpu = chips.Target("cpu", parallel.mesh(jax.devices("cpu")[:1]), attached=False)
  monkeypatch.setattr(chips, "described", lambda *words: cpu)
  path = tmp_path / "figures.json"
  assert command.main([*WORDS, f"--json={path}"]) == 0
  said = capsys.readouterr().out.splitlines()
  figures = json.loads(path.read_text())
  head = "NVIDIA H100 SXM 80 GB, 1 device(s) of 1 process(es): compiled"
  parts = ("memory, MiB: replay", "in place: ", "a tick ", "acting ", "learning ", "one update")
  for start in (head, *parts, "estimate: a tick takes"):
    assert any(line.startswith(start) for line in said), start
  assert figures["fits"] and figures["devices"] == 1 and not figures["float64"]
  assert f"{figures['acting']['kernels']:,.0f}" in said[4]
  assert min(figures[part]["operations"] for part in ("acting", "learning")) > 0


@pytest.mark.parametrize(
  ("place", "what"), [((chips, "described"), "device"), ((build, "build"), "program")]
)
def test_what_xla_refuses_is_one_sentence(monkeypatch, tmp_path, place, what):
  """A device or a program; the file of an earlier result stays as it was."""

  def refuse(*words, **settings):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: too large\nand more")

  path = tmp_path / "figures.json"
  path.write_text("earlier")
  monkeypatch.setattr(chips, "described", lambda *words: None)
  monkeypatch.setattr(*place, refuse)
  sentence = f"--target=h100: XLA refuses the {what}: RESOURCE_EXHAUSTED: too large$"
  with pytest.raises(ConfigError, match=sentence):
    command.main([*WORDS, f"--json={path}"])
  assert path.read_text() == "earlier"
