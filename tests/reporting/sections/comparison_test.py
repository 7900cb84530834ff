"""What the report says of several agents and their seeds."""

from muzero_jax.reporting.sections import comparison
from muzero_jax.runs import history
from tests.reporting.common import score, write_run
from tests.reporting.page_test import read_page


def write(folder, name, mean, seed, task="Pong-v5", **settings):
  row = score(mean, task=task)
  return write_run(folder / name, (), [score(99.0, 1), row], seed=seed, env__task=task, **settings)


def test_two_agents_by_hand(tmp_path):
  """Pong: random -20.7, human 14.6. Gumbel: 14.6 (1) and -20.7 (0); PUCT: -20.7 (0), twice."""
  a = [write(tmp_path, f"a{seed}", mean, seed) for seed, mean in enumerate((14.6, -20.7))]
  b = [write(tmp_path, f"b{seed}", -20.7, seed, search__kind="puct") for seed in range(2)]
  page = read_page(*a, *b, output=tmp_path / "report.html")
  chart = page.chart("Performance profile: Pong-v5")
  assert chart["x"] == "human-normalized score τ" and chart["steps"]
  first, second = chart["lines"]
  assert (first["label"], second["label"]) == ("search.kind=gumbel", "search.kind=puct")
  assert first["x"] == [-0.03, 0, 1, 1.03]
  assert (first["y"], second["y"]) == ([1, 0.5, 0, 0], [1, 0, 0, 0])
  assert (chart["bands"][0]["low"], chart["bands"][0]["high"]) == ([1, 0, 0, 0], [1, 1, 0, 0])
  # Of four pairs one is better by 14.6 and one equal, twice: (2 + 2 / 2) / 4.
  pair = page.row("search.kind=gumbel")[:2]
  assert pair[0] == "search.kind=puct" and pair[1].startswith("0.75 [0.50, 1.00]")


def test_games_are_compared_where_both_agents_have_played(tmp_path):
  """PUCT has played Pong only: better there (1), and no other game counts."""
  folders = [
    write(tmp_path, "a", -20.0, 0),
    write(tmp_path, "b", 30.5, 0, "Breakout-v5"),
    write(tmp_path, "c", -10.0, 0, search__kind="puct"),
    write(tmp_path, "d", -9.0, 1, search__kind="puct"),
  ]
  page = read_page(*folders, output=tmp_path / "report.html")
  assert ["search.kind=gumbel", "search.kind=puct", "0.00", "1", "1", "2"] in page.rows
  assert len(page.chart("Performance profile: Pong-v5")["bands"]) == 1  # PUCT's: it has two runs


def test_scores_over_games_by_hand(tmp_path):
  """Pong: a human (1) and random play (0), Breakout: a human twice. Without the lowest and the
  highest of 1, 0, 1, 1 the mean is 1; with Pong's 0 twice or its 1 twice it is 1/2 or 1.
  """
  scores = {"Pong-v5": (14.6, -20.7), "Breakout-v5": (30.5, 30.5)}
  folders = [
    write(tmp_path, f"{task}{seed}", mean, seed, task)
    for task, means in scores.items()
    for seed, mean in enumerate(means)
  ]
  page = read_page(*folders, output=tmp_path / "report.html")
  assert "Human-normalized scores over games" in page.texts["h3"]
  mean = "0.75 [0.50, 1.00]"
  assert page.row("these runs") == ["1.00 [0.50, 1.00]", mean, mean, "0.25 [0.00, 0.50]", "2", "4"]


def test_scores_over_games_of_a_seed_each(tmp_path):
  """They have no interval, and nothing else is compared. PUCT has one game, and one without
  published scores.
  """
  folders = [
    write(tmp_path, "a", 14.6, 0),
    write(tmp_path, "b", 30.5, 0, "Breakout-v5"),
    write(tmp_path, "c", 14.6, 0, search__kind="puct"),
    write(tmp_path, "d", 0.5, 0, "Breakout-MinAtar", search__kind="puct"),
  ]
  page = read_page(*folders, output=tmp_path / "report.html")
  assert page.row("search.kind=gumbel") == ["1.00", "1.00", "1.00", "0.00", "2", "2"]
  assert "Probability of improvement" not in page.texts["h3"]
  assert not [row for row in page.rows if row[0] == "search.kind=puct"]


def test_without_two_runs_of_an_agent_there_is_no_section(tmp_path):
  folders = [write(tmp_path, "a", 1.0, 0), write(tmp_path, "b", 2.0, 0, search__kind="puct")]
  runs = [history.read(folder) for folder in folders]
  assert comparison.section(runs, history.grouped(runs)) == []


def test_scores_of_one_protocol_are_compared(tmp_path):
  """Two runs have a row of 100k, one of them also a later one of machado."""
  rows = [score(1.0), score(5.0, protocol="machado")]
  folders = [
    write_run(tmp_path / "a", (), rows, seed=0),
    write_run(tmp_path / "b", (), rows[:1], seed=1),
  ]
  page = read_page(*folders, output=tmp_path / "report.html")
  assert "under protocol 100k" in page.text
  (line,) = page.chart("Performance profile: Pong-v5")["lines"]
  assert line["label"] == "these runs" and line["y"][-2:] == [0, 0] and len(line["y"]) == 3
