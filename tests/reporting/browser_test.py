"""The report in a real browser, where there is one."""

import html
import re
import shutil
import subprocess

import pytest

from muzero_jax.reporting import page
from tests.reporting.common import metric_rows, score, write_moments, write_run
from tests.search.common import tree_by_hand

BROWSER = next(
  filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
QUIET = (
  "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
  "--disable-component-update --disable-sync --enable-logging=stderr --virtual-time-budget=5000"
)


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
def test_every_chart_is_drawn_and_nothing_is_complained_about(tmp_path):
  folders = [
    write_run(
      tmp_path / f"{seed}",
      metric_rows([seed, 2.0, float("nan"), 3.0], **{"loss/total": 1.5, "search/depth": 0.0}),
      [score(2.0, intervals={"mean": [1.0, 2.5]}), score(-20.0, agent="random")],
      seed=seed,
    )
    for seed in (0, 1)
  ]
  write_moments(folders[0], [tree_by_hand().to_dict()])
  path = page.write(folders, tmp_path / "report.html")
  found = subprocess.run(
    [
      BROWSER,
      *QUIET.split(),
      f"--user-data-dir={tmp_path / 'user'}",
      "--dump-dom",
      f"file://{path}",
    ],
    capture_output=True,
    text=True,
    timeout=60,
    check=True,
  )
  assert "CONSOLE" not in found.stderr
  figures = re.findall(r'<figure class="chart.*?</figure>', found.stdout, re.DOTALL)
  assert len(figures) == 6  # two of returns; profile; throughput, loss, search
  assert all("<canvas" in figure for figure in figures)
  # The script of the search trees ran, too.
  assert re.search(r'<label><input type="range"[^>]*aria-label="simulation"', found.stdout)
  text = html.unescape(re.sub(r"<[^>]*>", "", figures[0]))
  assert "mean of seeds" in text and "random play" in text
