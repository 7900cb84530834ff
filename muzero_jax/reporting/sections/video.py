"""The newest video among the runs of a report."""

import base64
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from muzero_jax.reporting.elements import tag
from muzero_jax.runs import history
from muzero_jax.runs.history import RunRecord

MAX_BYTES = 20 * 2**20  # of a larger video only the name is shown


def section(runs: Sequence[RunRecord]) -> list[Element]:
  """The newest video of the first run that has one, or []."""
  path = last(runs)
  if not path:
    return []
  folder = path.parent.parent
  names = {run.folder: name for run, name in zip(runs, history.names(runs), strict=True)}
  text = f"{path.name} of {names[folder]}"
  if path.stat().st_size > MAX_BYTES:
    return [tag("p", f"The video {text} is too large to be shown here: {path}")]
  address = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
  player = tag("video", src=address, controls="controls", preload="metadata")
  return [tag("figure", tag("figcaption", f"video {text}"), player)]


def last(runs: Sequence[RunRecord]) -> Path | None:
  """The newest video of the first run that has one."""
  for run in runs:
    if videos := history.videos(run.folder):
      return videos[-1]
  return None
