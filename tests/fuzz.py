"""What may stand in a file that somebody else wrote: strategies for Hypothesis."""

import json

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

# Deterministic, and without a folder of examples: a failure is the same on every machine.
fuzz = settings(
  max_examples=60,
  deadline=None,
  derandomize=True,
  database=None,
  suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

# What Python's json module reads: NaN, infinities, huge integers and half surrogate pairs, too.
SCALARS = st.one_of(
  st.none(),
  st.booleans(),
  st.integers(),
  st.sampled_from([10**400, 10**30, 2**64, 2**63, 2**31, 0, -1, 1e308, -1e308, 9e99, 1e39]),
  st.floats(),
  st.text(st.characters(codec=None, exclude_categories=()), max_size=8),
)
VALUES = st.recursive(
  SCALARS,
  lambda inner: st.one_of(
    st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
  ),
  max_leaves=8,
)
DEEP = b"[" * 100_000 + b"]" * 100_000


def lines(valid: dict) -> st.SearchStrategy[bytes]:
  """Lines of a .jsonl file: bytes, JSON, and a valid row of which one field is changed."""
  changed = st.tuples(st.sampled_from(sorted(valid)), VALUES).map(
    lambda pair: json.dumps(valid | dict([pair])).encode()
  )
  cut = st.integers(0, 200).map(lambda size: json.dumps(valid).encode()[:size])
  return st.one_of(
    st.binary(max_size=20),
    VALUES.map(lambda value: json.dumps(value).encode()),
    changed,
    cut,
    st.sampled_from([DEEP, b"null", b"{}", json.dumps(valid).encode()]),
  )
