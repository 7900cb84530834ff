"""What tests of whole runs share."""

import signal

import pytest


@pytest.fixture(autouse=True)
def signals():
  """Runs put handlers in place; tests put them back."""
  numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
  kept = {number: signal.getsignal(number) for number in numbers}
  yield
  for number, handler in kept.items():
    signal.signal(number, handler)
