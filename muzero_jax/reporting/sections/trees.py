"""The section of the report that shows search trees of some moments of recorded episodes."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from muzero_jax.evaluation import moments
from muzero_jax.evaluation.moments import Moment
from muzero_jax.reporting.elements import note, table, tag
from muzero_jax.search import drawing
from muzero_jax.search.trees import SearchTree

_ABOUT = (
  "A box is a node. N counts the visits of the edge to it, Q is reward + discount x mean value, P "
  "the prior, r the predicted reward, v the value that the network predicts for the node. Green: Q "
  "is above the root's v, red: below. Orange: the action taken. The thicker an edge, the more "
  "visits."
)
_EQUIVALENT = (
  "An action with a prior of 0 % is not searched, because the model cannot tell it apart from one "
  "that is (--search.equivalence). They share the policy after the search."
)


def section(video: Path | None) -> list[Element]:
  """Search trees from the .json file beside a video; [] if there is no video or no such file."""
  if not video:
    return []
  path = video.with_suffix(".json")
  try:
    kind, found = moments.read(path)
  except FileNotFoundError:
    return []
  except (OSError, ValueError) as error:
    return [tag("h2", "Search trees"), note(f"{path} cannot be read ({error}).")]
  trees = [moment for moment in found if moment.tree]
  if not trees:
    text = f"There are none: this agent decides without a tree (--search.kind={kind})."
    return [tag("h2", "Search trees"), tag("p", text)]
  most = max(trees, key=lambda moment: moment.surprise)
  merged = any((moment.tree.root_prior == 0).any() for moment in trees if moment.tree)
  return [
    tag("h2", "Search trees"),
    tag("p", "Moments of the episodes in the video: what the search looked at before it chose."),
    *(_moment(moment, opened=moment is most) for moment in trees),
    note(_ABOUT),
    *([note(_EQUIVALENT)] if merged else []),
  ]


def _moment(moment: Moment, opened: bool) -> Element:
  tree = moment.tree
  assert tree
  head = tag("summary", f"Episode {moment.episode + 1}, step {moment.step:,}: {_reasons(moment)}")
  image = tag("img", src=f"data:image/png;base64,{moment.image}", alt="the game", class_="game")
  beside = tag("div", tag("p", _facts(moment)), _actions(tree))
  details = tag("details", head, tag("div", image, beside, class_="moment"), _stepper(tree))
  if opened:
    details.set("open", "open")
  return details


def _reasons(moment: Moment) -> str:
  numbers = {
    moments.SURPRISE: f" ({moment.surprise:.2f} from reward and next value)",
    moments.DISPUTE: f" ({moment.disagreement:.0%} of the probability moved)",
  }
  return ", ".join(why + numbers.get(why, "") for why in moment.why)


def _facts(moment: Moment) -> str:
  value, predicted, actual, reward = map(
    drawing.decimal,
    (moment.value, moment.predicted_value, moment.actual_return, moment.predicted_reward),
  )
  return (
    f"Score {moment.score:g}. Value {value} after the search, {predicted} of the network; the "
    f"actual discounted return was {actual}. Reward {reward} predicted, {moment.reward:g} actual."
  )


def _actions(tree: SearchTree) -> Element:
  """A table of the actions at the root."""
  visited = {int(tree.action[node]): node for node in tree.nodes[1:] if tree.parent[node] == 0}
  rows: list[Sequence[str]] = []
  for action in range(len(tree.policy)):
    node = visited.get(action)
    seen = ["0", ""] if node is None else [str(tree.visits[node]), drawing.decimal(tree.q[node])]
    shares = [f"{100 * float(x[action]):.0f} %" for x in (tree.root_prior, tree.policy)]
    rows.append([tree.name(action), *shares, *seen])
  found = table(["action", "prior", "search", "N", "Q"], rows, [tree.name(tree.chosen)])
  found.set("class", "wide")  # narrow enough for any screen
  return found


def _stepper(tree: SearchTree) -> Element:
  """The drawing of the tree, and a slider, which the script shows."""
  last = str(tree.simulations)
  slider = tag("input", type="range", min="0", max=last, value=last, **{"aria-label": "simulation"})
  said = tag("output", f"all {last} simulations")
  control = tag("label", slider, said, hidden="hidden")
  svg = tag("div", drawing.draw(tree), class_="wide")
  return tag("div", control, svg, class_="tree", **{"data-tree": drawing.steps(tree)})
