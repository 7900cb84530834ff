"""Signals: at once where everything is saved, noted where it is not, and twice.

In a library the handlers run in this process; commands are scripts of a few lines.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

from muzero_jax.runs import signals
from muzero_jax.runs.signals import Stop, Stopped

SCRIPT = """
import hashlib, os, signal, sys, time
from muzero_jax.runs import signals
with signals.command() as stop:
  print("ready", flush=True)
  {body}
print("ended", flush=True)
"""


@pytest.fixture(autouse=True)
def handlers():
  """The usual handlers, whoever runs the tests; each test must leave them as they were."""
  usual = {signal.SIGINT: signal.default_int_handler}
  usual |= {number: signal.SIG_DFL for number in (signal.SIGTERM, signal.SIGHUP)}
  kept = {number: signal.signal(number, handler) for number, handler in usual.items()}
  yield
  found = {number: signal.signal(number, handler) for number, handler in kept.items()}
  assert found == usual


def script(body: str, **options) -> subprocess.Popen:
  """A command that does `body`; it has printed "ready" and handles signals."""
  process = subprocess.Popen(
    [sys.executable, "-c", SCRIPT.format(body=body)], stdout=subprocess.PIPE, text=True, **options
  )
  assert process.stdout.readline() == "ready\n"
  return process


@pytest.mark.parametrize("number", signals.NUMBERS)
def test_in_a_library_a_signal_is_raised_where_everything_is_saved(number):
  with pytest.raises(Stopped) as caught, Stop() as stop:
    signal.raise_signal(number)
  assert caught.value.code == 128 + number == 128 + stop.signal


def test_what_is_unsaved_is_not_interrupted(capsys):
  with Stop() as stop:
    stop.unsaved = True
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)  # within a second: an echo
  assert stop.signal == signal.SIGTERM
  assert capsys.readouterr().out.count("saving ...") == 1


def test_an_interruptible_part_is_left():
  with Stop() as stop:
    stop.unsaved = True
    with pytest.raises(Stopped), stop.interruptible():
      signal.raise_signal(signal.SIGTERM)
    with pytest.raises(Stopped), stop.interruptible():  # nor is the next one entered
      pytest.fail("entered")


def test_a_second_signal_has_its_usual_effect(monkeypatch):
  monkeypatch.setattr(signals, "AGAIN", 0.01)
  with Stop() as stop:
    stop.unsaved = True
    signal.raise_signal(signal.SIGINT)
    time.sleep(0.02)
    with pytest.raises(KeyboardInterrupt):
      signal.raise_signal(signal.SIGINT)


def test_what_is_ignored_stays_ignored():
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    with Stop() as stop:
      signal.raise_signal(signal.SIGHUP)
    assert not stop.signal
  finally:
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", signals.NUMBERS)
def test_a_command_ends_inside_one_long_call(number):
  """Python's handlers wait for the end of this call, as for that of a compilation."""
  process = script("hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)")
  begun = time.perf_counter()
  process.send_signal(number)
  said, _ = process.communicate(timeout=20)
  assert process.returncode == 128 + number
  assert said == f"stopped by {signal.Signals(number).name}.\n"
  assert time.perf_counter() - begun < 5


def test_a_command_with_something_unsaved_ends_by_itself():
  body = "stop.unsaved = True; print('go', flush=True); time.sleep(1.5); print('saved')"
  process = script(body)
  assert process.stdout.readline() == "go\n"
  process.send_signal(signal.SIGTERM)
  said, _ = process.communicate(timeout=20)
  assert said == "\nstopping after this round; saving ...\nsaved\nended\n"


def test_a_second_signal_ends_a_command_at_once():
  long = "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
  body = f"stop.unsaved = True; print('go', flush=True); {long}"
  process = script(body)
  assert process.stdout.readline() == "go\n"
  process.send_signal(signal.SIGTERM)
  time.sleep(1.5)
  assert process.poll() is None
  process.send_signal(signal.SIGTERM)
  process.communicate(timeout=20)
  assert process.returncode == 128 + signal.SIGTERM


PASSED_ON = """from muzero_jax.device import distributed
  class Client:
    def blocking_key_value_get(self, name, timeout): return "15"
  distributed._group = distributed._Group(Client(), 1, 2)
  stop.unsaved = True
  distributed._listen(distributed._group)
  print("go", flush=True)
  until = time.monotonic() + {seconds}
  while time.monotonic() < until: time.sleep(0.1)
  print("saved", flush=True)
  sys.exit(128 + stop.signal)
"""


def test_a_signal_after_that_of_another_process_is_the_first_one():
  """A scheduler may signal hosts seconds apart, while all of them save."""
  process = script(PASSED_ON.format(seconds=3))
  said = [process.stdout.readline() for _ in range(3)]
  time.sleep(1.2)
  process.send_signal(signal.SIGTERM)
  rest, _ = process.communicate(timeout=20)
  assert "".join(said) + rest == "\nstopping after this round; saving ...\ngo\nsaved\n"
  assert process.returncode == 128 + signal.SIGTERM


def test_the_one_after_that_is_the_second():
  process = script(PASSED_ON.format(seconds=60))
  said = [process.stdout.readline() for _ in range(3)]
  assert said[-1] == "go\n"
  for _ in range(2):
    time.sleep(1.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
  assert process.communicate(timeout=20)[0] == ""
  assert process.returncode == 128 + signal.SIGTERM


def test_what_is_being_written_is_finished_first():
  body = "stop.before_exit = lambda: print('written'); print('go', flush=True); time.sleep(60)"
  process = script(body)
  assert process.stdout.readline() == "go\n"
  process.send_signal(signal.SIGHUP)
  assert process.communicate(timeout=20)[0] == "written\nstopped by SIGHUP.\n"


def test_what_could_not_be_written_is_said():
  body = "stop.message = 'stopped at 7 steps'; stop.before_exit = lambda: {}['no room']"
  process = script(f"{body}; print('go', flush=True); time.sleep(60)", stderr=subprocess.PIPE)
  assert process.stdout.readline() == "go\n"
  process.send_signal(signal.SIGTERM)
  assert process.communicate(timeout=20) == ("", "error: 'no room'\n")
  assert process.returncode == 128 + signal.SIGTERM


def test_nohup():
  process = script(
    "time.sleep(1.5)", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
  )
  process.send_signal(signal.SIGHUP)
  assert process.communicate(timeout=20)[0] == "ended\n" and process.returncode == 0


def test_nothing_is_left_behind():
  before = len(os.listdir("/proc/self/fd"))
  with signals.command() as stop, signals.handled() as same:
    assert same is stop
  time.sleep(0.2)
  assert len(os.listdir("/proc/self/fd")) == before
