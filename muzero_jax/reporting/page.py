"""Writes the report of one or several runs: an HTML page in a single file.

The file contains all data, scripts and videos of the page; it loads nothing from elsewhere. The
charts are drawn in the browser by uPlot (https://github.com/leeoniya/uPlot), which is in `uplot/`
with its license.
"""

import base64
import hashlib
import html
import string
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from muzero_jax.config import ConfigError
from muzero_jax.reporting.elements import tag
from muzero_jax.reporting.sections import (
  comparison,
  curves,
  evaluations,
  metrics,
  settings,
  summary,
  trees,
  video,
)
from muzero_jax.runs import history, workdir
from muzero_jax.runs.history import RunRecord


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


def page(runs: Sequence[RunRecord]) -> str:
  """The text of the HTML page."""
  groups = history.grouped(runs)
  # Points per line in a plot; small plots have half as many. The limit keeps the file small.
  points = max(100, min(500, 5000 // len(runs)))
  title = _title(runs)
  body = tag(
    "body",
    tag("h1", title),
    *curves.section(groups, points, beside=video.section(runs)),
    *summary.section(runs, groups),
    *comparison.section(runs, groups),
    *evaluations.section(runs, groups),
    *trees.section(video.last(runs)),
    *metrics.section(groups, points // 2),
    *settings.section(runs, groups),
  )
  return _document(title, body)


def _title(runs: Sequence[RunRecord]) -> str:
  tasks = ", ".join(dict.fromkeys(run.task for run in runs))
  return (
    f"{tasks}, seed {runs[0].settings['seed']}" if len(runs) == 1 else f"{tasks}: {len(runs)} runs"
  )


def _document(title: str, body: Element) -> str:
  """Fills the template: the page's title, its body, and the scripts with their digests.

  The page's security policy allows these scripts only, whatever text a run's files contain.
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
