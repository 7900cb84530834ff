"""What tests of whole runs share."""

import signal

import pytest


@pytest.fixture(autouse=True)
def signals():
  """Runs put handlers in place; tests put them back."""
  kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
  yield
  for number, handler in kept.items():
    signal.signal(number, handler)
