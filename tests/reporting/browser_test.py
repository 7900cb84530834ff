"""The report in a real browser, where there is one."""

import html
import json
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


# What a person does on a page that is 400 pixels wide, and whether it changes what is drawn. It
# runs in the report, and tells the page that the report is embedded in.
ACTS = """
const find = (name) => document.querySelector(name);
const all = (name) => [...document.querySelectorAll(name)];
const pause = () => new Promise((resolve) => setTimeout(resolve, 200));
const send = (target, kind, place) =>
  target.dispatchEvent(new MouseEvent(kind, { bubbles: true, movementX: 9, ...place }));

async function changed(seen, act) {
  await pause();
  const before = seen();
  act();
  await pause();
  return seen() !== before;
}

addEventListener("load", async () => {
  const told = { width: innerWidth, fits: document.documentElement.scrollWidth <= innerWidth };
  const charts = () => all("figure.chart canvas").map((canvas) => canvas.toDataURL()).join();
  const legend = () => all(".u-value").map((value) => value.textContent).join();
  const nodes = () => all(".tree g.node").filter((node) => node.style.display !== "none").length;
  told.drawn = await changed(charts, () => {}) === false && charts().length > 10000;
  told.smoothing = await changed(charts, () => {
    find("#smoothing").value = 0.9;
    send(find("#smoothing"), "input");
  });
  told.logarithmic = await changed(charts, () => {
    find("#logarithmic").checked = true;
    send(find("#logarithmic"), "change");
  });
  const over = find("figure.chart .u-over"), box = over.getBoundingClientRect();
  const at = (share) =>
    ({ clientX: box.left + share * box.width, clientY: box.top + box.height / 2 });
  told.hover = await changed(legend, () => send(over, "mousemove", at(0.5)));
  told.zoom = await changed(charts, () => {
    send(over, "mousedown", at(0.2));
    send(over, "mousemove", at(0.7));
    send(over, "mouseup", at(0.7));
  });
  told.stepped = await changed(nodes, () => {
    const slider = find("input[aria-label=simulation]");
    slider.value = 1;
    send(slider, "input");
  });
  parent.postMessage(JSON.stringify(told), "*");
});
"""


def dumped(path, folder):
  """The page as it is after its scripts have run, and what the browser complained about."""
  call = [BROWSER, *QUIET.split(), f"--user-data-dir={folder / 'user'}", "--dump-dom"]
  found = subprocess.run(
    [*call, f"file://{path}"], capture_output=True, text=True, timeout=60, check=True
  )
  assert "CONSOLE" not in found.stderr, found.stderr
  return found.stdout


@pytest.fixture
def report(tmp_path):
  """Of two seeds, one with a search tree and a video."""
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
  return page.write(folders, tmp_path / "report.html")


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
def test_every_chart_is_drawn_and_nothing_is_complained_about(report, tmp_path):
  found = dumped(report, tmp_path)
  figures = re.findall(r'<figure class="chart.*?</figure>', found, re.DOTALL)
  assert len(figures) == 6  # two of returns; profile; throughput, loss, search
  assert all("<canvas" in figure for figure in figures)
  # The script of the search trees ran, too.
  assert re.search(r'<label><input type="range"[^>]*aria-label="simulation"', found)
  text = html.unescape(re.sub(r"<[^>]*>", "", figures[0]))
  assert "mean of seeds" in text and "random play" in text


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium")
def test_on_a_narrow_screen_everything_fits_and_answers(report, tmp_path):
  """400 pixels wide: nothing runs off the page; smoothing, logarithmic axes and zooming redraw
  charts, values stand under the pointer, and the slider steps through a tree.
  """
  text = re.sub(r"<meta[^>]*Content-Security-Policy[^>]*>", "", report.read_text())
  assert text != report.read_text()  # it would refuse a script that is not its own
  report.write_text(text.replace("</body>", f"<script>{ACTS}</script></body>"))
  outside = tmp_path / "outside.html"
  outside.write_text(
    f'<body><iframe src="file://{report}" width="400" height="900"></iframe><script>'
    "onmessage = (event) => { document.body.dataset.told = event.data; }</script></body>"
  )
  told = re.search(r'data-told="([^"]*)"', dumped(outside, tmp_path))
  assert told, "the report said nothing"
  facts = json.loads(html.unescape(told.group(1)))
  assert 380 <= facts.pop("width") <= 400
  assert len(facts) == 7 and all(facts.values()), facts
