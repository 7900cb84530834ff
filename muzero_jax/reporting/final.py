"""The outputs of a finished run: final scores, learning curve, video, report page."""

from typing import Any

from muzero_jax.config import ConfigError, StorageError
from muzero_jax.evaluation.scores import details, sentence
from muzero_jax.evaluation.scoring import Scoring
from muzero_jax.reporting import board, page, references
from muzero_jax.reporting.plots import draw_curve
from muzero_jax.runs import history, jsonl
from muzero_jax.runs.progress import fitted
from muzero_jax.types import Params


def finish(scoring: Scoring, params: Params, env_steps: int) -> None:
  """Makes the outputs of a finished run, and prints a summary.

  Evaluations of the agent and of the random player, and the video, are not repeated if they
  exist, unless more episodes of the agent are asked for; curve and report are made anew.

  Args:
    scoring: of the run.
    params: what the agent's search takes, on one device.
    env_steps: agent steps that the agent was trained for.

  Raises:
    StorageError: some of it cannot be written; the scores are printed nevertheless.
  """
  rows = _scores(scoring, params, env_steps)
  try:
    scoring.close()
    curve = draw_curve(scoring.folder, f"{scoring.task}, seed {scoring.config.seed}")
    video = scoring.folder / "video" / f"{env_steps}.mp4"
    if scoring.config.video and not video.exists():
      scoring.record(params, env_steps)
    board.write(scoring.folder)
    places = [f"curve: {curve}", *([f"video: {video}"] if video.exists() else [])]
    places.append(f"report: {page.write([scoring.folder])}")
  except (OSError, ConfigError, StorageError) as error:
    print(fitted(sentence(rows["trained"], rows["random"])), flush=True)
    raise StorageError(
      f"Not all outputs of the run in {scoring.folder} could be written ({error}): make room, and "
      "run the same command again."
    ) from error
  expected = references.sentence(history.read(scoring.folder), env_steps)
  said = [*map(fitted, filter(None, (sentence(rows["trained"], rows["random"]), expected)))]
  print(*said, *places, sep="\n", flush=True)


def _scores(scoring: Scoring, params: Params, env_steps: int) -> dict[str, dict[str, Any] | None]:
  """The evaluations of "trained" and "random", made where they are missing; None: not asked for."""
  done = jsonl.read(scoring.folder / "evaluations.jsonl")
  rows = {}
  for agent in ("trained", "random"):
    found = [
      row
      for row in done
      if (row.get("agent"), row.get("protocol")) == (agent, scoring.protocol)
      and {"task", "env_steps", "episodes", "mean"} <= row.keys()
    ]
    least = scoring.config.evaluation.episodes
    found = [
      row
      for row in found
      if agent == "random" or (row["env_steps"] == env_steps and row["episodes"] >= least)
    ]
    if found:
      rows[agent] = found[-1]
      continue
    rows[agent] = row = scoring.evaluate(params, env_steps, agent)
    if row:
      print(fitted(f"{agent} player: {details(row)}"), flush=True)
      scoring.keep(row)
  return rows
