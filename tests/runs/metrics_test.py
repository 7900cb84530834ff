"""Sums of metrics over rounds."""

from muzero_jax.runs import metrics


def test_sums_of_rounds():
  """A name that only one round reports is kept; one without weight has no mean."""
  total = metrics.add(
    {"a": (1.0, 2.0), "c": (3.0, 4.0)}, {"a": (2.0, 2.0), "b": (0.0, 0.0), "d": (5.0, 1.0)}
  )
  assert metrics.means(total) == {"a": 0.75, "c": 0.75, "d": 5.0}
