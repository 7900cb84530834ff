"""The command that writes the page of runs."""

import sys

import pytest

from launch import cli
from launch import report as command
from tests.reporting.common import (
  metric_rows,
  write_run,
)


def test_the_command(tmp_path, monkeypatch, capsys):
  a, b = (
    write_run(tmp_path / "a", metric_rows([1])),
    write_run(tmp_path / "b", metric_rows([1]), seed=1),
  )
  monkeypatch.chdir(tmp_path)
  for words, place in (
    ([f"--workdir={a}"], a / "report.html"),
    ([f"--workdir={a},{b}"], tmp_path / "report.html"),
    ([f"--workdir={a},{a},"], a / "report.html"),
    ([f"--workdir={a}, {b}", "--output=mine.html"], tmp_path / "mine.html"),
  ):
    place.unlink(missing_ok=True)
    command.main(["report", *words])
    assert capsys.readouterr().out == f"report: {place}\n" and place.stat().st_size > 1000
  assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
  "words,sentence",
  [
    ([], "--workdir is missing: name the folder of a run"),
    (
      ["--workdir=nowhere"],
      "there is no run in it (no readable config.json); name the folder of a run",
    ),
    (["--workdir=bad"], "there is no run in it"),
    (["--workdir=run", "--output=no/such/folder.html"], "--output="),
    (["--workdir=run", "--output=run"], "it is a folder"),
    (["--workdir=run", "--wrokdir=x"], "workdir"),
  ],
)
def test_mistakes_are_one_sentence(words, sentence, tmp_path, monkeypatch, capsys):
  write_run(tmp_path / "run")
  (tmp_path / "bad").mkdir()
  (tmp_path / "bad" / "config.json").write_text('{"config": [1')
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, "argv", ["report", *words])
  with pytest.raises(SystemExit) as stop:
    cli.run(command.main)
  said = capsys.readouterr().err
  assert stop.value.code == 2 and sentence in said and said.count("\n") == 1
