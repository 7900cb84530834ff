"""The model card of an exported agent: what it is, how well it plays, and how to load it."""

from typing import Any

import jax
import numpy as np

from muzero_jax import __version__, build
from muzero_jax import config as configs
from muzero_jax.evaluation import intervals, protocols
from muzero_jax.evaluation.scores import references, remade, task_name
from muzero_jax.runs.restore import Agent

# What each protocol is, in words that need no other document.
_PROTOCOLS = {
  "100k": "no sticky actions, 1 to 30 no-ops at the start, the actions that the game uses",
  "machado": "sticky actions (0.25), all 18 actions",
  "machado-minimal": "sticky actions (0.25), the actions that the game uses; not comparable with "
  "machado",
  "own": "the environment as in training",
}
_STATISTICS = {"mean": "mean", "median": "median", "iqm": "IQM", "hns": "human-normalized"}


def text(agent: Agent, known: dict[str, Any], name: str) -> str:
  """The model card, in Markdown.

  Args:
    agent: the agent.
    known: what `exported.facts` returned of it.
    name: of the agent's file, which lies beside the card.
  """
  task = task_name(agent.config.env.kind, agent.config.env.task)
  lines = [f"# {task} after {agent.env_steps:,} agent steps", "", *_about(agent, known, task)]
  lines += ["", "## Scores", "", *_scores(agent, known["evaluations"], task)]
  lines += ["", "## Use", "", *_use(agent, name)]
  lines += ["", "## Settings", "", f"Those that are not the defaults of version {__version__}:", ""]
  flags = configs.as_flags(configs.replace(agent.config, {"workdir": ""}))
  lines += ["```", *flags, "```"]
  return "\n".join(lines) + "\n"


def _about(agent: Agent, known: dict[str, Any], task: str) -> list[str]:
  config, spec = agent.config, agent.spec
  frames = agent.env_steps * build.frames_per_step(config)
  played = f" ({frames:,} frames)" if frames else ""
  shape = " x ".join(map(str, spec.frame_shape))
  size = sum(np.size(leaf) for leaf in jax.tree.leaves(agent.params))
  simulations = agent.search.simulations
  depth = f", {simulations} simulations per action" if simulations else ""
  versions = ", ".join(f"{package} {version}" for package, version in known["versions"].items())
  facts = {
    "game": f"{task} ({config.env.kind})",
    "trained for": f"{agent.env_steps:,} agent steps{played}, seed {config.seed}",
    "sees": f"{config.env.stack} x {shape}, {np.dtype(spec.frame_dtype).name}",
    "actions": ", ".join(build.action_names(config, spec.num_actions)) or str(spec.num_actions),
    "search": f"{config.search.kind}{depth}",
    "network": f"{config.network.kind}, {config.network.size}, {size:,} parameters",
    "made with": versions,
    "code": known["revision"] or "unknown revision",
    "devices": ", ".join(map(str, known["devices"])),
  }
  rows = [f"| {fact} | {value} |" for fact, value in facts.items() if value]
  return ["| | |", "|---|---|", *rows]


def _scores(agent: Agent, rows: list[dict[str, Any]], task: str) -> list[str]:
  """A table of the evaluations, and what to know about them."""
  lines = []
  if not any(row.get("agent") != "random" for row in rows):
    lines += [
      "These parameters were not evaluated; `python -m launch.evaluate` before the export does it.",
      "",
    ]
  if not rows:
    return lines[:1]
  shown = [name for name in _STATISTICS if any(name in row for row in rows)]
  header = ["player", "protocol", "episodes", *(_STATISTICS[name] for name in shown)]
  lines += [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
  for row in rows:
    bounds = row.get("intervals", {})
    scores = [
      intervals.in_words(row[name], bounds.get(name)) if name in row else "" for name in shown
    ]
    player = "random" if row.get("agent") == "random" else "this agent"
    cells = [player, str(row.get("protocol", "")), str(row.get("episodes", "")), *scores]
    lines.append(f"| {' | '.join(cells)} |")
  levels = {f"{row['level']:.0%}" for row in rows if "level" in row}
  brackets = f"In brackets: {', '.join(sorted(levels))} bootstrap intervals over episodes. "
  lines += [
    "",
    f"{brackets if levels else ''}Scores are sums of unclipped rewards over whole episodes, of "
    "one training run (one seed): another run may come out differently.",
  ]
  for protocol in dict.fromkeys(row.get("protocol", "") for row in rows):
    lines.append(f"Protocol {protocol}: {_rules(protocol)}.")
  published = references().get(task)
  if published:
    known = ", ".join(f"{name} {score:g}" for name, score in published.items())
    lines.append(f"Published (no-op starts, no sticky actions): {known}.")
  if remark := remade(agent.config.env.kind):
    lines.append(remark)
  return lines


def _rules(protocol: str) -> str:
  """A protocol in words."""
  known = _PROTOCOLS.get(protocol.removesuffix(protocols.SAMPLED), "unknown")
  sampled = protocols.is_sampled(protocol)
  return f"{known}; actions {'drawn as in training' if sampled else 'without exploration'}"


def _use(agent: Agent, name: str) -> list[str]:
  frame = f"np.zeros({agent.spec.frame_shape}, np.{np.dtype(agent.spec.frame_dtype).name})"
  return [
    "The file needs the package `muzero_jax` and nothing of the run. It holds numbers and text and "
    "cannot run code.",
    "",
    "```python",
    "import muzero_jax",
    "import numpy as np",
    "",
    f'player = muzero_jax.load_agent("{name}").player()',
    f"action = player.act({frame}, first=True)",
    "```",
    "",
    "`first` says whether an observation begins an episode; frames are stacked by the player.",
    "",
    f"    python -m launch.evaluate --workdir={name} --episodes=30",
    f"    python -m launch.video --workdir={name}",
  ]
