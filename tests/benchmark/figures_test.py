"""Ratios of the times of parts."""

from muzero_jax.benchmark import figures


def test_ratios_by_hand():
  """Emulators 3, network 5, loop 10: together 8 where they share the cores, 5 where they
  overlap.
  """
  seconds = {
    "emulators": [3.0],
    "environment": [4.0],
    "network": [5.0],
    "without_emulators": [6.0],
    "loop": [10.0],
  }
  assert figures.ratios(seconds, shared=True) == {
    "efficiency": [0.8],
    "feed": [0.9],
    "environment_ratio": [0.75],
  }
  assert figures.ratios(seconds, shared=False) == {
    "efficiency": [0.5],
    "feed": [0.6],
    "environment_ratio": [0.75],
  }
  seconds |= {"tree": [1.0], "search": [4.0]}
  del seconds["emulators"], seconds["environment"]
  assert figures.ratios(seconds, shared=True) == {
    "efficiency": [0.5],
    "feed": [0.6],
    "tree_share": [0.25],
  }
  assert figures.ratios(seconds, shared=True, complete=False) == {"tree_share": [0.25]}
  assert figures.ratios({"network": [1.0]}, shared=True) == {}
  assert figures.ratios({}, shared=True) == {}  # emulators alone of a game that has none
