"""Makes the elements of the HTML report."""

from collections.abc import Iterable, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from muzero_jax.reporting.charts import Chart
from muzero_jax.runs import jsonl


def tag(name: str, *children: Element | str, **attributes: str) -> Element:
  """Makes an element. Text and attributes need no escaping: the serializer does that."""
  element = Element(name, {key.strip("_"): value for key, value in attributes.items()})
  for child in children:
    if not isinstance(child, str):
      element.append(child)
    elif len(element):
      element[-1].tail = (element[-1].tail or "") + child
    else:
      element.text = (element.text or "") + child
  return element


def table(
  header: Iterable[str], rows: Iterable[Sequence[str]], marked: Sequence[str] = ()
) -> Element:
  """Makes a table. On a narrow screen each of its rows becomes a list, if it has many columns.

  Args:
    header: the heads of the columns.
    rows: the cells of each row.
    marked: rows whose first cell is one of these are highlighted.
  """
  heads = list(header)
  lines = [tag("tr", *(tag("th", head) for head in heads))]
  for row in rows:
    look = {"class_": "differs"} if row[0] in marked else {}
    cells = [
      tag("td", cell, **{"data-head": head}) for head, cell in zip(heads[1:], row[1:], strict=True)
    ]
    lines.append(tag("tr", tag("th", row[0]), *cells, **look))
  return tag("div", tag("table", *lines), class_="wide many" if len(heads) > 2 else "wide")


def note(text: str) -> Element:
  """A remark in small print."""
  return tag("p", text, class_="note")


def chart(data: Chart, large: bool = False) -> Element:
  """A chart's place on the page, with its data; the script draws it."""
  return tag(
    "figure",
    tag("figcaption", data.title, " ", tag("output")),
    tag("div"),
    **{"class": "chart large" if large else "chart", "data-chart": data.json()},
  )


def number(value: Any) -> str:
  """Formats a value for a reader: numbers with four digits or in full, None as ""."""
  if not jsonl.is_number(value):
    return "" if value is None else str(value)
  if isinstance(value, int):
    return f"{value:,}"
  return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
