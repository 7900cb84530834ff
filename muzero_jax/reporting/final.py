"""The outputs of a finished run: final scores, learning curve, video, report page."""

from muzero_jax.evaluation.scores import sentence
from muzero_jax.evaluation.scoring import Scoring
from muzero_jax.reporting import page
from muzero_jax.reporting.plots import draw_curve
from muzero_jax.runs import metrics
from muzero_jax.types import Params


def finish(scoring: Scoring, params: Params, env_steps: int) -> None:
  """Makes the outputs of a finished run, and prints a summary.

  Evaluations of the agent and of the random player, and the video, are not repeated if they
  exist; curve and report are made anew.

  Args:
    scoring: of the run.
    params: what the agent's search takes, on one device.
    env_steps: agent steps that the agent was trained for.
  """
  done = metrics.read(scoring.folder / "evaluations.jsonl")
  rows = {}
  for agent in ("trained", "random"):
    found = [
      row for row in done if row.get("agent") == agent and row["protocol"] == scoring.protocol
    ]
    found = [row for row in found if agent == "random" or row["env_steps"] == env_steps]
    rows[agent] = found[-1] if found else scoring.evaluate(params, env_steps, agent)
  curve = draw_curve(scoring.folder, f"{scoring.task}, seed {scoring.config.seed}")
  video = scoring.folder / "video" / f"{env_steps}.mp4"
  if scoring.config.video and not video.exists():
    scoring.record(params, env_steps)
  places = f"curve: {curve}" + (f"  video: {video}" if video.exists() else "")
  places += f"  report: {page.write([scoring.folder])}"
  print(f"{sentence(rows['trained'], rows['random'])}  {places}", flush=True)
