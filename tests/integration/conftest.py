"""What tests of whole runs share."""

import signal

import pytest


@pytest.fixture(autouse=True)
def signals():
  """The usual handlers, whoever runs the tests; they are put back after each test."""
  usual = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
    signal.SIGHUP: signal.SIG_DFL,
  }
  kept = {number: signal.signal(number, handler) for number, handler in usual.items()}
  yield
  for number, handler in kept.items():
    signal.signal(number, handler)
