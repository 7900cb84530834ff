"""The package as a user installs it: the library, its presets, and one command, in any folder."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def test_the_installed_command_works_in_any_folder(tmp_path):
  """It is built from the files of the repository alone, and finds the presets that it brings."""
  site, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
  elsewhere.mkdir()
  pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
  subprocess.run([*pip, "--no-deps", f"--target={site}", str(ROOT)], check=True, cwd=tmp_path)

  def call(*words):
    return subprocess.run(
      [sys.executable, str(site / "bin" / "muzero-jax"), *words],
      cwd=elsewhere,
      env=os.environ | {"PYTHONPATH": str(site)},
      capture_output=True,
      text=True,
      check=False,
    )

  refused = call(
    "train", "--preset=catch", "--preset=ideas/td_lambda", "--workdir=x", "--env.stack=0"
  )
  assert refused.returncode == 2 and refused.stderr.startswith("error: --env.stack=0")
  unknown = call("train", "--preset=pong")
  assert unknown.returncode == 2 and "pong_cpu" in unknown.stderr
  report = call("report", "--workdir=x")
  assert report.returncode == 2 and "Traceback" not in report.stderr
  brought = {path.name for path in (site / "muzero_jax").rglob("*") if path.suffix != ".py"}
  assert {"pong_cpu.flags", "atari_scores.csv", "published.csv", "report.html"} <= brought
