"""Draws a search tree as SVG: the root on the left, a box for every node, with its edge's numbers.

In a report a script steps through the simulations; what it needs to know stands in `data-`
attributes.
"""

import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

if TYPE_CHECKING:
  from muzero_jax.search.trees import SearchTree

_BOX, _COLUMN = (148, 32), 186  # width and height of a node, and from one depth to the next
_ROW, _MARGIN = 40, 6
_CHOSEN, _BETTER, _WORSE, _EDGE = "#e07b1f", "#2f9e5b", "#c94f4f", "#808080"


def document(tree: "SearchTree", simulation: int | None = None) -> str:
  """The text of an SVG file on a white ground: the tree after `simulation`, or the whole one."""
  svg = draw(tree, simulation)
  svg.insert(0, Element("rect", width="100%", height="100%", fill="white"))
  return ElementTree.tostring(svg, encoding="unicode")


def draw(tree: "SearchTree", simulation: int | None = None) -> Element:
  """The tree as an `svg` element, whose text has the color of the text around it.

  Args:
    tree: the tree.
    simulation: the last simulation to be shown, whose path is then marked; None: all of them.
  """
  places = layout(tree)
  width = _BOX[0] + _COLUMN * max(x for x, _ in places.values()) + 2 * _MARGIN
  height = _BOX[1] + _ROW * max(y for _, y in places.values()) + 2 * _MARGIN
  svg = Element(
    "svg",
    {
      "xmlns": "http://www.w3.org/2000/svg",
      "viewBox": f"0 0 {width:g} {height:g}",
      "width": f"{width:g}",
      "height": f"{height:g}",
      "font-family": "system-ui, sans-serif",
      "font-size": "11",
      "fill": "currentColor",
      "role": "img",
    },
  )
  changes = list(tree.replay())
  last = len(changes) - 1 if simulation is None else simulation
  visits, values = _state(tree, changes, simulation)
  marked = {node for node, _, _ in changes[last]} if simulation is not None else set()
  scale = color_scale(tree)
  for node, place in places.items():
    if node > last:
      continue
    group = SubElement(svg, "g", {"class": "node"})
    if node:
      parent = int(tree.parent[node])
      share = visits[node] / max(1, tree.simulations)
      color = _CHOSEN if {node, parent} <= marked else _EDGE
      _edge(group, places[parent], place, 1 + 4 * share, color)
    _box(group, tree, node, place, visits[node], values[node], scale)
  return svg


def steps(tree: "SearchTree") -> str:
  """What the report's script needs, as JSON.

  Returns:
    "nodes", for each node in the drawing its number, reward and whether it is the root's;
    "changes", for every simulation a list of [node, N, Q or, at the root, value]; and the same for
    the finished tree, "final"; "base" and "scale", of the colors.
  """

  def line(node: int, visits: int, value: float) -> list:
    q = value if node == 0 else float(tree.reward[node]) + tree.discount * value
    return [node, visits, float(f"{q:.5g}")]

  final = [line(int(n), int(tree.visits[n]), float(tree.value[n])) for n in tree.nodes]
  return json.dumps(
    {
      "nodes": [[int(node), int(tree.parent[node])] for node in tree.nodes],
      "changes": [[line(*change) for change in changes] for changes in tree.replay()],
      "final": final,
      "base": float(tree.predicted[0]),
      "scale": color_scale(tree),
    },
    separators=(",", ":"),
  )


def layout(tree: "SearchTree") -> dict[int, tuple[float, float]]:
  """The place of every node: its depth, and its row.

  Leaves have rows of their own, in the order of their actions; a node is in the middle of its
  children.
  """
  children: dict[int, list[int]] = {int(node): [] for node in tree.nodes}
  for node in tree.nodes[1:]:
    children[int(tree.parent[node])].append(int(node))
  rows: dict[int, float] = {}
  order, stack = [], [0]
  while stack:  # parents before their children
    order.append(node := stack.pop())
    below = sorted(children[node], key=lambda child: int(tree.action[child]), reverse=True)
    stack += below
  leaves = 0
  for node in order:
    if not children[node]:
      rows[node], leaves = float(leaves), leaves + 1
  for node in reversed(order):
    if children[node]:
      rows[node] = float(np.mean([rows[child] for child in children[node]]))
  return {node: (float(len(tree.path(node)) - 1), rows[node]) for node in sorted(children)}


def color_scale(tree: "SearchTree") -> float:
  """The largest difference of a Q from the root's predicted value: that of the strongest color.

  It is at least 0.05, so that differences that do not show in the numbers have no color.
  """
  return float(max(0.05, np.max(np.abs(tree.q[tree.nodes] - tree.predicted[0]))))


def _state(
  tree: "SearchTree", changes: list, simulation: int | None
) -> tuple[np.ndarray, np.ndarray]:
  """N and value of every node after a simulation."""
  if simulation is None:
    return tree.visits, tree.value
  visits, values = np.zeros_like(tree.visits), np.zeros_like(tree.value)
  for change in changes[: simulation + 1]:
    for node, count, value in change:
      visits[node], values[node] = count, value
  return visits, values


def _edge(
  group: Element, start: tuple[float, float], end: tuple[float, float], width: float, color: str
) -> None:
  x, y = _MARGIN + start[0] * _COLUMN + _BOX[0], _MARGIN + start[1] * _ROW + _BOX[1] / 2
  to_x, to_y = _MARGIN + end[0] * _COLUMN, _MARGIN + end[1] * _ROW + _BOX[1] / 2
  middle = (x + to_x) / 2
  curve = f"M{x:g},{y:g} C{middle:g},{y:g} {middle:g},{to_y:g} {to_x:g},{to_y:g}"
  look = {"fill": "none", "stroke": color, "stroke-width": f"{width:.2f}"}
  SubElement(group, "path", {"d": curve, **look})


def _box(
  group: Element,
  tree: "SearchTree",
  node: int,
  place: tuple[float, float],
  visits: int,
  value: float,
  scale: float,
) -> None:
  """A node: its action, N and Q in the first line; prior, reward, predicted value in the second."""
  x, y = _MARGIN + place[0] * _COLUMN, _MARGIN + place[1] * _ROW
  reward, predicted = tree.reward[node], tree.predicted[node]
  q = value if node == 0 else reward + tree.discount * value
  chosen = bool(node and tree.parent[node] == 0 and tree.action[node] == tree.chosen)
  _about(group, tree, node, visits, q)
  shade = min(1.0, abs(q - tree.predicted[0]) / scale) * 0.45
  look = {
    "fill": _BETTER if q >= tree.predicted[0] else _WORSE,
    "fill-opacity": f"{0 if node == 0 else shade:.2f}",
    "stroke": _CHOSEN if chosen else _EDGE,
    "stroke-width": "2.5" if chosen else "1",
    "rx": "4",
  }
  size = {"width": str(_BOX[0]), "height": str(_BOX[1])}
  SubElement(group, "rect", {"x": f"{x:g}", "y": f"{y:g}", **size, **look})
  name = tree.name(int(tree.action[node])) if node else "root"
  first = SubElement(group, "text", {"x": f"{x + 6:g}", "y": f"{y + 13:g}"})
  SubElement(first, "tspan", {"font-weight": "bold"}).text = name
  numbers = SubElement(first, "tspan", {"x": f"{x + _BOX[0] - 6:g}", "text-anchor": "end"})
  numbers.text = f"N {visits}  {'Q' if node else 'V'} {decimal(q)}"
  second = SubElement(
    group, "text", {"x": f"{x + 6:g}", "y": f"{y + 26:g}", "fill-opacity": "0.75"}
  )
  known = f"P {decimal(tree.prior[node])}  r {decimal(reward)}  " if node else "network's "
  second.text = f"{known}v {decimal(predicted)}"


def decimal(x: Any) -> str:
  """A number with two digits, and without a sign if it is zero then."""
  return f"{round(float(x), 2) + 0.0:.2f}"


def _about(group: Element, tree: "SearchTree", node: int, visits: int, q: float) -> None:
  """The text that a browser shows when the pointer is over the node."""
  way = " → ".join(tree.name(int(tree.action[passed])) for passed in tree.path(node)[1:])
  facts = f"N {visits}, {'Q' if node else 'value'} {q:.4g}"
  if node:
    facts += f", prior {tree.prior[node]:.4g}, reward {tree.reward[node]:.4g}"
  text = f"{way or 'root'}: {facts}, value predicted by the network {tree.predicted[node]:.4g}"
  SubElement(group, "title").text = f"{text} (simulation {node})" if node else text
