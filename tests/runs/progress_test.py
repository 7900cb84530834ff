"""What is shown while something takes long: lines in a log, two lines on a terminal."""

import io
import sys

import pytest

from muzero_jax.runs import progress
from muzero_jax.runs.progress import Progress, Screen


class Terminal(io.StringIO):
  """Standard error as a terminal."""

  def isatty(self) -> bool:
    return True


@pytest.mark.parametrize(
  ("seconds", "words"),
  [
    (-1, "0 s"),
    (59.4, "59 s"),
    (90, "2 min"),
    (3000, "50 min"),
    (3600, "1 h"),
    (4800, "1 h 20 min"),
    (86400, "1 d"),
    (86400 * 2 + 3 * 3600, "2 d 3 h"),
  ],
)
def test_durations_in_words(seconds, words):
  assert progress.duration(seconds) == words


def test_a_log_gets_a_line_now_and_then(capsys):
  with Progress("games", 8) as shown:
    shown.show(1, "1 of 8")
    assert capsys.readouterr().out == ""  # the last ten seconds were quiet
    shown._last -= progress.PAUSE
    shown.show(2, "2 of 8")
    shown.show(3, "3 of 8")
  assert capsys.readouterr().out == "games: 2 of 8\n"


def test_the_time_left_is_that_of_the_phase():
  """200 steps in 2 s while the replay is filled: at least 8 s for 800 more. Then 100 steps in 10 s:
  70 s for 700 more.
  """
  screen = Screen(1000, 0)
  assert screen.left == ""
  screen.enter(progress.FILLING)
  screen.advance(200, 2.0)
  assert screen.left == "over 8 s left"
  screen.enter("learning")
  assert screen.left == ""
  screen.advance(300, 10.0)
  assert screen.left == "1 min left"
  screen.advance(1000, 70.0)
  assert screen.left == ""


def test_a_log_says_once_what_is_waited_for(capsys):
  screen = Screen(1000, 0)
  for _ in range(2):
    screen.enter("learning", "learning from 64 steps on")
  screen.show({"return": 1.0})
  assert capsys.readouterr().out == "learning from 64 steps on\n"


@pytest.mark.parametrize("columns", [80, 120])
def test_two_lines_fit_the_terminal(columns, monkeypatch):
  """With large numbers, and the longest phase; nothing is wrapped."""
  monkeypatch.setenv("COLUMNS", str(columns))
  terminal = Terminal()
  monkeypatch.setattr(sys, "stderr", terminal)
  monkeypatch.setattr(progress.tqdm, "__init__", _with(terminal, columns))
  screen = Screen(50_000_000, 0)
  screen.enter(progress.FILLING)
  screen.advance(23_456_789, 20_000.0)
  facts = {"return": -20.1234, "unfinished": -11.4567, "loss": 123.456}
  screen.show(facts | {"gradient steps": 1_234_567})
  screen.close()
  drawn = terminal.getvalue().replace("\x1b[A", "\r").replace("\n", "\r").split("\r")
  assert max(map(len, drawn)) <= columns
  assert any("filling the replay |" in line and "over 6 h 17 min left" in line for line in drawn)
  second = "return -20.12  unfinished -11.46  loss 123.5  gradient steps 1,234,567"
  assert any(second in line for line in drawn)


def _with(terminal, columns):
  """tqdm's constructor for a terminal of that many columns."""
  made = progress.tqdm.__init__

  def init(self, *words, **look):
    look |= {"file": terminal, "ncols": columns, "dynamic_ncols": False}
    made(self, *words, **look)

  return init


def test_long_lines_break_between_words(monkeypatch):
  """On a terminal only: a log has one line."""
  monkeypatch.setenv("COLUMNS", "20")
  assert progress.fitted("two devices with 32 environments") == "two devices with 32 environments"
  monkeypatch.setattr(progress, "on_terminal", lambda: True)
  assert progress.fitted("two devices with 32 environments") == (
    "two devices with 32\n  environments"
  )
