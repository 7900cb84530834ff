"""What is read from the folders of runs, and drawn of it."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from muzero_jax.config import ConfigError
from muzero_jax.reporting import charts, plots
from muzero_jax.runs import history
from tests.reporting.common import (
  metric_rows,
  score,
  write_run,
)


def test_groups_look_at_settings_that_matter(tmp_path):
  folders = [
    write_run(tmp_path / "a", env_steps=10),
    write_run(tmp_path / "b", env_steps=20, seed=1),
    write_run(tmp_path / "c", loss__value=1.0),
  ]
  found = [history.read(folder) for folder in folders]
  groups = history.grouped(found)
  assert [[run.folder.name for run in group.runs] for group in groups] == [["a", "b"], ["c"]]
  assert [group.label for group in groups] == ["loss.value=0.25", "loss.value=1.0"]
  assert history.differing(found) == ["workdir", "seed", "env_steps", "loss.value"]


def test_rows_of_intervals_that_were_cut_short_are_left_out_of_curves(tmp_path):
  """After 2,300 steps the run was stopped, after 5,400 it ended; longer intervals remain."""
  steps = [1000, 2000, 2300, 3000, 4000, 5000, 5400]
  rows = [row | {"env_steps": n} for row, n in zip(metric_rows(range(7)), steps, strict=True)]
  run = history.read(write_run(tmp_path / "a", rows))
  assert run.curve("env_steps", "episode/return")[1].tolist() == [0, 1, 3, 4, 5]
  assert run.line("env_steps", "episode/return")[1].tolist() == list(range(7))
  every = [
    row | {"env_steps": n}
    for row, n in zip(rows, [100, 200, 300, 1300, 2300, 3300, 3400], strict=True)
  ]
  run = history.read(write_run(tmp_path / "b", every))  # --log_every was raised
  assert run.curve("env_steps", "episode/return")[0].tolist() == [100, 200, 300, 1300, 2300, 3300]


def test_thin_by_hand():
  x, y = history.thin((np.array([1.0, 2, 3, 4, 5]), np.array([1.0, 3, 5, 9, 4])), 3)
  np.testing.assert_array_equal(x, [2, 4, 5])
  np.testing.assert_array_equal(y, [2, 7, 4])
  line = (np.arange(3.0), np.arange(3.0))
  assert history.thin(line, 3) is line


def test_spread_by_hand():
  """One seed was seen from 0 to 4, the other from 2 to 8: they share 2 to 4."""
  lines = [(np.array([0.0, 4]), np.array([0.0, 8])), (np.array([2.0, 8]), np.array([10.0, 4]))]
  grid, ys = history.resampled(lines, 3)
  np.testing.assert_allclose(grid, [2, 3, 4])
  np.testing.assert_allclose(ys, [[4, 6, 8], [10, 9, 8]])
  assert (
    history.resampled([(np.array([0.0, 1]), np.zeros(2)), (np.array([2.0, 3]), np.zeros(2))], 3)
    is None
  )


def test_what_is_drawn(tmp_path):
  """Every seed's line, their mean, the evaluations with an interval, in minutes; and the image of
  it.
  """
  marks = [score(9.0, 1500, intervals={"mean": [8.0, 9.5]})]
  folders = [
    write_run(tmp_path / f"{seed}", metric_rows([seed, seed + 4.0, 6.0]), marks * seed, seed=seed)
    for seed in (0, 2)
  ]
  groups = history.grouped([history.read(folder) for folder in folders])
  chart = charts.returns("Pong-v5", groups, "seconds", 500)
  first, second, mean = chart.lines
  assert (first.x, first.y, first.faint) == ([1, 2, 3], [0, 4, 6], True)
  assert (second.x, second.y, second.faint) == ([1, 2, 3], [2, 6, 6], True)
  np.testing.assert_allclose([mean.y[0], mean.y[-1]], [1, 6])
  assert not mean.faint and first.color == second.color == mean.color
  [band] = chart.bands
  assert (band.low[0], band.high[0], band.low[-1], band.high[-1]) == (0, 2, 6, 6)
  [dots] = chart.dots  # of seed 2, which has two evaluations
  assert (dots.x, dots.y, dots.low, dots.high) == ([1.5] * 2, [9] * 2, [8] * 2, [9.5] * 2)
  assert chart.x == "wall-clock time (minutes)"

  _, axes = plt.subplots()
  plots.draw(axes, chart)
  np.testing.assert_allclose(axes.lines[0].get_xydata(), [[1, 0], [2, 4], [3, 6]])
  assert axes.lines[0].get_alpha() < 1 and len(axes.lines) == 4
  plt.close()


def test_a_chart_as_json():
  """Six digits, and null where JSON has no number."""
  line = charts.Line("a", "#000000", [1.0, 2.0], [1 / 3, float("nan")])
  found = json.loads(charts.Chart("t", "x", "", [line]).json())
  assert found["lines"][0]["y"] == [0.333333, None]


def test_a_config_that_is_no_dictionary_is_a_mistake_too(tmp_path):
  for text in ("[]", '{"config": 3}', "{}"):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConfigError, match="no run in it"):
      history.read(tmp_path)
