"""The learning curve as a picture."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from muzero_jax import metrics


def draw_curve(workdir: Path, title: str) -> Path:
  """Draws `workdir/curve.png`: mean returns of training games, and of evaluations, against agent steps."""
  rows = [row for row in metrics.read(workdir / "metrics.jsonl") if "episode/return" in row]
  scores = [row for row in metrics.read(workdir / "evaluations.jsonl") if row.get("agent") != "random"]
  chance = [row for row in metrics.read(workdir / "evaluations.jsonl") if row.get("agent") == "random"]
  figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
  axes.plot([row["env_steps"] for row in rows], [row["episode/return"] for row in rows], label="training games")
  if scores:
    axes.plot([row["env_steps"] for row in scores], [row["mean"] for row in scores], "o", label="evaluation, mean")
  if chance:
    axes.axhline(chance[-1]["mean"], linestyle=":", color="grey", label="random play")
  axes.set(title=title, xlabel="agent steps", ylabel="return (raw, full games)")
  axes.grid(alpha=0.3)
  if axes.get_legend_handles_labels()[0]:
    axes.legend()
  path = workdir / "curve.png"
  figure.savefig(path, dpi=120)
  plt.close(figure)
  return path
