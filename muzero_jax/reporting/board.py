"""What TensorBoard shows of a run beside its metrics: evaluations, settings, and the newest video.

They are a run of their own, `evaluations` in the run's folder, whose only file is written anew each
time, so that it holds what evaluations.jsonl holds, and no rows that were removed on resuming.
"""

import contextlib
import time
from pathlib import Path

from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from muzero_jax.evaluation import video
from muzero_jax.reporting import charts
from muzero_jax.runs import history, jsonl
from muzero_jax.runs.history import RunRecord

FOLDER = "evaluations"
_SCORES = ("mean", "median", "iqm", "hns")


def write(folder: Path) -> Path:
  """Writes what there is of a run.

  Returns:
    The folder with TensorBoard's file.

  Raises:
    ConfigError: a file of the run cannot be read.
    OSError: the file cannot be written.
  """
  run, place = history.read(folder), folder / FOLDER
  place.mkdir(exist_ok=True)
  for path in place.glob("events.out.tfevents.*"):
    path.unlink()
  writer = EventsWriter(str(place / "events"))
  try:
    now = time.time()
    writer.write_event(Event(wall_time=now, step=0, session_log=_START))
    for step, found in _summaries(run):
      writer.write_event(Event(wall_time=now, step=step, summary=found))
    writer.flush()
  finally:
    writer.close()
  return place


_START = SessionLog(status=SessionLog.START)  # TensorBoard drops what it has read of this run


def _summaries(run: RunRecord) -> list[tuple[int, Summary]]:
  """All summaries, each with its agent steps."""
  rows = [row for row in run.scores("trained") if isinstance(row.get("env_steps"), int)]
  found = [(row["env_steps"], summary.scalar(tag, x)) for row in rows for tag, x in scalars(row)]
  found += [(0, one) for one in _settings(run, rows[-1] if rows else {})]
  last = rows[-1]["env_steps"] if rows else 0
  with contextlib.suppress(OSError):  # a video that cannot be read is left out
    for path in history.videos(run.folder)[-1:]:
      image = Summary.Image(colorspace=3, encoded_image_string=video.gif(path))
      found.append((last, Summary(value=[Summary.Value(tag="video", image=image)])))
  return found


def scalars(row: dict) -> list[tuple[str, float]]:
  """The statistics of an evaluation, and the interval of its mean."""
  group = f"evaluation/{row.get('protocol', 'unknown')}"
  scores = [(f"{group}/{name}", row[name]) for name in _SCORES if jsonl.is_number(row.get(name))]
  bounds = charts.interval(row, "mean") or []
  ends = zip(("low", "high"), bounds, strict=False)
  return scores + [(f"{group}/mean_{end}", bound) for end, bound in ends]


def _settings(run: RunRecord, last: dict) -> tuple[Summary, ...]:
  """The settings, as hyperparameters with the last scores, and as a text."""
  names = {name: value for name, value in run.settings.items() if name != "workdir"}
  scored = {tag: value for tag, value in scalars(last)}
  table = [f"| --{name} | {value} |" for name, value in names.items()]
  command = " ".join(map(str, run.facts.get("command") or []))
  versions = ", ".join(f"{name} {x}" for name, x in (run.facts.get("versions") or {}).items())
  about = f"`{command}`\n\n{versions}\n\nrevision {run.facts.get('revision') or 'unknown'}"
  return (
    *summary.hparams(names, scored),
    summary.text("settings", "\n".join(["| setting | value |", "|---|---|", *table])),
    summary.text("command and versions", about),
  )
