"""Writes the report of one or several runs: an HTML page in a single file.

The file contains all data, scripts and videos of the page; it loads nothing from elsewhere. The
charts are drawn in the browser by uPlot (https://github.com/leeoniya/uPlot), which is in `uplot/`
with its license.
"""

import base64
import datetime
import hashlib
import html
import string
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError
from muzero_jax.evaluation import intervals
from muzero_jax.evaluation.scores import references
from muzero_jax.reporting import charts, thinking
from muzero_jax.reporting.charts import Chart
from muzero_jax.reporting.elements import note as _note
from muzero_jax.reporting.elements import table as _table
from muzero_jax.reporting.elements import tag as _tag
from muzero_jax.runs import history, jsonl, workdir
from muzero_jax.runs.history import Group, Run

VIDEO_BYTES = 20 * 2**20  # of a larger video only the name is shown
# Kinds of metrics whose sections come first, in this order, and the headings of these sections.
_SECTIONS = {
  "throughput": "Throughput",
  "loss": "Losses",
  "replay": "Replay",
  "search": "Search",
  "learner": "Learner",
}
# Metrics without a plot in the sections of metrics, because they are axes or learning curves.
_AXES = ("env_steps", "frames", "updates", "seconds", "episode/return")
# Fields of evaluations.jsonl, and the column heads of the table of evaluations.
_COLUMNS = {
  "task": "game",
  "agent": "agent",
  "env_steps": "agent steps",
  "protocol": "protocol",
  "episodes": "games",
}
_SCORES = {"mean": "mean", "median": "median", "iqm": "IQM", "hns": "human-normalized"}
# All other fields get columns of their own.
_KNOWN = {*_COLUMNS, *_SCORES, "returns", "lengths", "intervals", "level", "seeds"}


def write(workdirs: Sequence[str | Path], output: str | Path = "") -> Path:
  """Writes the report of one or several runs.

  Args:
    workdirs: the folders of the runs.
    output: the file; "" stands for `report.html` in the run's folder, or, for several runs, in the
      current folder.

  Returns:
    The file's path.

  Raises:
    ConfigError: no folder was named, one of them has no run, or the file cannot be written.
  """
  folders = list(dict.fromkeys(workdir.place(folder) for folder in workdirs if str(folder)))
  if not folders:
    raise ConfigError(
      "--workdir is missing: name the folder of a run, or of several with commas between."
    )
  text = page([history.read(folder) for folder in folders])
  path = workdir.place(output or (folders[0] if len(folders) == 1 else Path.cwd()) / "report.html")
  try:
    if path.is_dir():
      raise IsADirectoryError(0, "it is a folder")
    workdir.write(path, text)
  except OSError as error:
    raise ConfigError(
      f"--output={path}: cannot be written ({error.strerror}); name a file in a folder that exists "
      "and can be written."
    ) from error
  return path


def page(found: Sequence[Run]) -> str:
  """The text of the HTML page."""
  groups = history.grouped(found)
  # Points per line in a plot; small plots have half as many. The limit keeps the file small.
  points = max(100, min(500, 5000 // len(found)))
  body = _tag(
    "body",
    _tag("h1", _title(found)),
    *_first(found, groups, points),
    *_head(found, groups),
    *_evaluations(found, groups),
    *_trees(found),
    *_metrics(groups, points),
    *_settings(found, groups),
  )
  return _document(_title(found), body)


def _document(title: str, body: Element) -> str:
  """Fills the template: the page's title, its body, and the scripts with their digests.

  The policy allows no script but these, whatever a run's files say.
  """
  folder = resources.files("muzero_jax").joinpath("reporting")
  names = ("uplot/uPlot.iife.min.js", "report.js", "trees.js")
  scripts = [folder.joinpath(name).read_text() for name in names]
  digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
  return string.Template(folder.joinpath("report.html").read_text()).substitute(
    title=html.escape(title),
    policy=" ".join(f"'sha256-{digest}'" for digest in digests),
    style=folder.joinpath("uplot/uPlot.min.css").read_text(),
    body=ElementTree.tostring(body, encoding="unicode", method="html"),
    scripts="\n".join(f"<script>{text}</script>" for text in scripts),
  )


def _number(value: Any) -> str:
  """Formats a number for a reader; None becomes ""."""
  if not jsonl.is_number(value):
    return "" if value is None else str(value)
  return (
    f"{value:,}"
    if isinstance(value, int)
    else f"{value:,.0f}"
    if 1000 <= abs(value) < 1e9
    else f"{value:.4g}"
  )


def _title(found: Sequence[Run]) -> str:
  tasks = ", ".join(dict.fromkeys(run.task for run in found))
  return (
    f"{tasks}, seed {found[0].settings['seed']}"
    if len(found) == 1
    else f"{tasks}: {len(found)} runs"
  )


def _names(found: Sequence[Run]) -> list[str]:
  """The names of the runs' folders, or their paths where several have the same name."""
  names = [run.folder.name for run in found]
  return [
    str(run.folder) if names.count(name) > 1 else name
    for run, name in zip(found, names, strict=True)
  ]


def _head(found: Sequence[Run], groups: Sequence[Group]) -> list[Element]:
  """The summary: for each run its game, seed, progress and scores."""
  rows = [[name, *_facts(run).values()] for name, run in zip(_names(found), found, strict=True)]
  header = ["run", *_facts(found[0])]
  table = (
    _table(header, rows) if len(rows) > 1 else _table(["", ""], zip(header, rows[0], strict=True))
  )
  parts = [table]
  for run, name in zip(found, _names(found), strict=True):
    if not run.rows:
      parts.append(
        _note(
          f"{name} has no metrics yet: the first line comes after "
          f"{_number(run.settings['log_every'])} agent steps."
        )
      )
  if len(groups) > 1:
    parts += [
      _tag("p", "Runs that differ in more than the seed, and their colors in all plots:"),
      _tag("ul", *map(_key, groups)),
    ]
  return parts


def _key(group: Group) -> Element:
  number = f"{group.name}: " if group.name != group.label else ""
  return _tag(
    "li",
    _tag("span", "■ ", style=f"color: {charts.color(group)}"),
    f"{number}{group.label} ({group.task}, {group.seeds})",
  )


def _facts(run: Run) -> dict[str, str]:
  scores = run.scores("trained")
  done, asked = run.newest("env_steps") or 0, run.settings["env_steps"]
  rates = [rate for rate in run.line("env_steps", "env_steps_per_second")[1] if np.isfinite(rate)]
  return {
    "game": run.task,
    "seed": str(run.settings["seed"]),
    "agent steps": _number(done) + (f" of {_number(asked)}" if done < asked else ""),
    "wall-clock time": str(datetime.timedelta(seconds=round(run.newest("seconds") or 0))),
    "agent steps/s (median)": _number(float(np.median(rates))) if rates else "",
    "newest training return": _number(run.newest("episode/return")),
    "last evaluation": _score(scores[-1]) if scores else "none yet",
    "best evaluation": f"{_score(max(scores, key=lambda row: row['mean']))} (of {len(scores)})"
    if scores
    else "",
    "random play": _score(run.scores("random")[-1]) if run.scores("random") else "",
    "protocol": str(
      scores[-1].get("protocol", "") if scores else run.settings["evaluation.protocol"]
    ),
    "code": str(run.facts.get("revision") or "unknown revision"),
    "devices": ", ".join(map(str, run.facts.get("devices") or [])),
  }


def _score(row: dict[str, Any]) -> str:
  score = intervals.in_words(row["mean"], charts.interval(row, "mean"))
  return (
    f"{score}, {_number(row.get('episodes'))} games after {_number(row.get('env_steps'))} steps"
  )


def _first(found: Sequence[Run], groups: Sequence[Group], points: int) -> list[Element]:
  """What is looked at first: each game's learning curve beside the newest video.

  The curves are shown against agent steps and against wall-clock time, where there are any yet.
  """
  parts, waiting = [], []
  for task in dict.fromkeys(group.task for group in groups):
    same = [group for group in groups if group.task == task]
    if any(
      run.scores("trained") or run.newest("episode/return") is not None
      for group in same
      for run in group.runs
    ):
      parts += [
        _chart(charts.returns(task, same, x, points), large=True) for x in ("env_steps", "seconds")
      ]
    else:
      waiting.append(_tag("p", f"{task}: no game is over yet."))
  video = _video(found)
  beside = [*parts[:1], *video, *parts[1:]]
  note = _note(
    "Drag over a chart to zoom in, double-click to zoom out. Bands extend from the lowest to the "
    f"highest seed, as far as all seeds of a group have come. A line has at most {points} points "
    "(below, half of that), each the mean of its neighbors."
  )
  return [
    *waiting,
    *([_controls()] if any(run.rows for run in found) else []),
    _tag("div", *beside, class_="first"),
    *([note] if parts else []),
  ]


def _controls() -> Element:
  """How all charts are drawn; the script reads it."""
  smoothing = {"id": "smoothing", "type": "range", "min": "0", "max": "0.98", "step": "0.02"}
  return _tag(
    "p",
    _tag("label", "Smoothing ", _tag("input", value="0", **smoothing)),
    _tag("label", _tag("input", id="logarithmic", type="checkbox"), " Logarithmic"),
    _tag("noscript", "The charts need JavaScript; the file loads nothing from the network."),
    class_="controls",
  )


def _chart(chart: Chart, large: bool = False) -> Element:
  """A chart's place on the page, with its data; the script draws it."""
  return _tag(
    "figure",
    _tag("figcaption", chart.title, " ", _tag("output")),
    _tag("div"),
    **{"class": "chart large" if large else "chart", "data-chart": chart.json()},
  )


def _evaluations(found: Sequence[Run], groups: Sequence[Group]) -> list[Element]:
  rows = [
    (name, row) for name, run in zip(_names(found), found, strict=True) for row in run.evaluations
  ]
  if not rows:
    return [_tag("h2", "Evaluations"), _tag("p", "No evaluation yet.")]
  more = dict.fromkeys(
    key
    for _, row in rows
    for key, value in row.items()
    if key not in _KNOWN and not isinstance(value, list | dict)
  )
  header = ["run", *_COLUMNS.values(), *_SCORES.values(), *more]
  cells = [
    [
      name,
      *(_number(row.get(key)) for key in _COLUMNS),
      *(
        intervals.in_words(row[key], charts.interval(row, key))
        if jsonl.is_number(row.get(key))
        else ""
        for key in _SCORES
      ),
      *(_number(row.get(key)) for key in more),
    ]
    for name, row in rows
  ]
  levels = ", ".join(
    sorted({f"{row['level']:.0%}" for _, row in rows if jsonl.is_number(row.get("level"))})
  )
  note = [_note(f"In brackets: {levels} bootstrap intervals over games.")] if levels else []
  return [_tag("h2", "Evaluations"), _table(header, cells), *note, *_published(groups)]


def _published(groups: Sequence[Group]) -> list[Element]:
  """A table of last evaluations and published scores, for the games that have the latter."""
  known = references()
  if not any(group.task in known for group in groups):
    return [_note("There are no published scores to compare with.")]
  shown = [
    group
    for group in groups
    if group.task in known and any(run.scores("trained") for run in group.runs)
  ]
  columns = list(dict.fromkeys(name for group in shown for name in known[group.task]))
  rows = []
  for group in shown:
    last = [run.scores("trained")[-1] for run in group.runs if run.scores("trained")]
    score = float(np.mean([row["mean"] for row in last]))
    steps = ", ".join(dict.fromkeys(_number(row.get("env_steps")) for row in last))
    reference = known[group.task]
    cells = [
      _beside(value, reference) for value in (score, *(reference.get(name) for name in columns))
    ]
    rows.append([group.task, group.name if len(groups) > 1 else "", str(len(last)), steps, *cells])
  header = ["game", "settings", "seeds", "agent steps", "ours, mean", *columns]
  note = (
    "In parentheses: human-normalized scores (0 is random play, 1 is a human). Published scores "
    "are with no-op starts and no sticky actions; those of agents are after 100,000 steps."
  )
  return (
    [_tag("h3", "Last evaluations beside published scores"), _table(header, rows), _note(note)]
    if shown
    else []
  )


def _beside(score: float | None, reference: dict[str, float]) -> str:
  if score is None:
    return ""
  return (
    f"{_number(score)} ({intervals.normalized(score, reference['random'], reference['human']):.2f})"
  )


def _metrics(groups: Sequence[Group], points: int) -> list[Element]:
  """A section of plots for each kind of metric, and a table of all newest values."""
  found = [run for group in groups for run in group.runs]
  names = sorted(
    {
      name
      for run in found
      for row in run.rows
      for name, value in row.items()
      if jsonl.is_number(value)
    }
    - {*_AXES}
  )
  kinds = [_kind(name) for name in names]
  parts = []
  for kind in [*(kind for kind in _SECTIONS if kind in kinds), *sorted({*kinds} - {*_SECTIONS})]:
    pictures = [
      _chart(charts.metric(groups, name, points // 2)) for name in names if _kind(name) == kind
    ]
    parts += [
      _tag("h2", _SECTIONS.get(kind, kind.capitalize())),
      _tag("div", *pictures, class_="small"),
    ]
  if names:
    rows = [[name, *(_newest(group, name) for group in groups)] for name in names]
    table = _table(["metric", *(group.name for group in groups)], rows)
    parts += [
      _tag("h2", "Newest values"),
      table,
      _note("The last value of every metric that is plotted above, averaged over the seeds."),
    ]
  return parts


def _kind(name: str) -> str:
  """The kind of a metric: the part of its name before the first slash, except for rates."""
  return (
    "throughput"
    if name.endswith("_per_second")
    else name.partition("/")[0]
    if "/" in name
    else "other"
  )


def _newest(group: Group, name: str) -> str:
  values = [value for run in group.runs if (value := run.newest(name)) is not None]
  return _number(float(np.mean(values))) if values else ""


def _newest_video(found: Sequence[Run]) -> tuple[str, Path] | None:
  """The name of the first run that has a video, and its newest one."""
  for name, run in zip(_names(found), found, strict=True):
    # A leading dot marks a video that is not complete. What lies behind a symbolic link is no part
    # of the run, and a report may be given away.
    folder = run.folder / "video"
    videos = [
      path
      for path in (() if folder.is_symlink() else folder.glob("*.mp4"))
      if not path.name.startswith(".") and path.is_file() and not path.is_symlink()
    ]
    if videos:
      return name, max(videos, key=lambda path: path.stat().st_mtime)
  return None


def _video(found: Sequence[Run]) -> list[Element]:
  """The newest video of the first run that has one."""
  if not (newest := _newest_video(found)):
    return []
  name, path = newest
  text = f"{path.name} of {name}"
  if path.stat().st_size > VIDEO_BYTES:
    return [_tag("p", f"The video {text} is too large to be shown here: {path}")]
  address = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
  player = _tag("video", src=address, controls="controls", preload="metadata")
  return [_tag("figure", _tag("figcaption", f"video {text}"), player)]


def _trees(found: Sequence[Run]) -> list[Element]:
  """Search trees of moments of the game in that video."""
  newest = _newest_video(found)
  return thinking.section(newest[1].with_suffix(".json")) if newest else []


def _settings(found: Sequence[Run], groups: Sequence[Group]) -> list[Element]:
  """A table of all settings, and the command line and package versions of each run."""
  names = dict.fromkeys(name for run in found for name in run.settings)
  defaults = configs.values(Config())
  rows = [
    [f"--{name}", str(defaults.get(name, "")), *(_values(group, name) for group in groups)]
    for name in names
  ]
  several = len(found) > 1
  unusual = (
    history.differing(found)
    if several
    else [name for name in names if found[0].settings[name] != defaults.get(name)]
  )
  header = ["setting", "default", *(group.name for group in groups)]
  items = []
  for name, run in zip(_names(found), found, strict=True):
    versions = run.facts.get("versions") or {}
    command = " ".join(map(str, run.facts.get("command") or []))
    items.append(
      _tag(
        "li",
        f"{name}: {command} ({', '.join(f'{key} {value}' for key, value in versions.items())})",
      )
    )
  note = _note("Highlighted: differs between runs." if several else "Highlighted: not the default.")
  table = _table(header, rows, [f"--{name}" for name in unusual])
  return [
    _tag("h2", "Configuration"),
    note,
    table,
    _tag("h3", "Commands and versions"),
    _tag("ul", *items),
  ]


def _values(group: Group, name: str) -> str:
  return ", ".join(dict.fromkeys(str(run.settings.get(name, "")) for run in group.runs))
