"""What the host had counted when a checkpoint was saved: its `progress`, a JSON object.

* `seconds`: wall-clock time of the run
* `pending`: sums of metrics since the last row, by name a pair (sum, weight)
* `env_steps`, `ticks`: agent steps and ticks done; the agent steps are also the
  checkpoint's name
* `begun`: agent steps at which the environments were seeded; the actions of a checkpoint count from
  there (`runs/actions.py`)

Somebody else may have written it. What is accepted here can be computed with, and gives rows of
metrics.jsonl that can be read again.
"""

import math
from typing import Any

from muzero_jax.runs import jsonl

_MOST = 1e11  # seconds; the rows of a run that goes on from fewer stay below the limit of `jsonl`


def read(content: bytes, env_steps: int, *, needs_begun: bool) -> dict[str, Any]:
  """The numbers in the file of a checkpoint; tuples in place of lists.

  Args:
    content: of the file.
    env_steps: agent steps of the checkpoint.
    needs_begun: whether `begun` must be there. Checkpoints of earlier versions have none.

  Raises:
    ValueError: it is not what a run saves. The message is a clause about it.
  """
  found = jsonl.parsed(content)
  if found is None:
    raise ValueError("is not an object of numbers")
  for name in ("seconds", "pending", *["begun"] * needs_begun):
    if name not in found:
      raise ValueError(f"has no {name}")
  if found["seconds"] >= _MOST:
    raise ValueError("has more seconds than a run lasts")
  if not all(jsonl.is_count(found.get(name, 0)) for name in ("ticks", "begun")):
    raise ValueError("has counts that are no numbers of steps")
  if found.get("begun", 0) > env_steps:
    raise ValueError(f"begins at {found['begun']:,} steps, after the checkpoint")
  pending = found["pending"]
  if not (isinstance(pending, dict) and all(map(_is_metric, pending.items()))):
    raise ValueError("has sums of metrics that no run has")
  sums = {name: (float(total), float(weight)) for name, (total, weight) in pending.items()}
  return {**found, "seconds": float(found["seconds"]), "pending": sums}


def _is_metric(item: tuple[str, Any]) -> bool:
  """Whether it is the name of a metric with two sums. The names of counts in a row are none."""
  name, pair = item
  return name not in jsonl.FIELDS and isinstance(pair, list) and [*map(_is_sum, pair)] == [True] * 2


def _is_sum(value: Any) -> bool:
  """Whether it can be a sum of float32s, which may be NaN or infinite.

  Finite ones are multiples of the smallest float32, 1.4e-45, and below 3.5e38 times their number.
  Within these bounds the mean of a metric is less than 1e100, the limit of `jsonl.parsed`.
  """
  if not jsonl.is_number(value):
    return False
  return value == 0 or not math.isfinite(value) or 1e-50 < abs(value) < 1e50
