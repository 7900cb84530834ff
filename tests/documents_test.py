"""The documents: links lead somewhere, and what is generated is up to date."""

import pathlib
import re

import pytest

from muzero_jax import flags
from muzero_jax.config import Config

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def anchors(text: str) -> set[str]:
  """Of the headings of a Markdown document, as GitHub makes them."""
  titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
  return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
  text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
  for target in re.findall(r"\]\(([^)\s]+)\)", text):
    if re.match(r"[a-z]+://|mailto:", target):
      continue
    name, _, anchor = target.partition("#")
    found = (path.parent / name).resolve() if name else path
    assert found.exists(), f"{path.name}: {target} does not exist"
    if anchor:
      assert anchor in anchors(found.read_text()), f"{path.name}: {target} has no such heading"


def test_settings_are_documented():
  """After a change of `config.py`: `python -m launch.settings`."""
  assert (ROOT / "docs" / "settings.md").read_text() == flags.settings_document(Config())


def test_readme_is_a_page():
  assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_tables_have_as_many_cells_in_each_row(path):
  """A row that was wrapped like a paragraph is shown as text."""
  text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
  lines = [re.sub(r"`[^`]*`|\\\|", "", line).strip() for line in text.splitlines()]
  for before, row in zip(["", *lines], lines, strict=False):
    if "|---|" in row:
      assert re.fullmatch(r"\|(-+\|)+", row), f"a table in one line: {row}"
    if row.startswith("|"):
      assert row.endswith("|"), f"not the whole row: {row}"
    if row.startswith("|") and before.startswith("|"):
      assert row.count("|") == before.count("|"), row
