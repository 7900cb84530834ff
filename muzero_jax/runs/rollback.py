"""Removes what a run made after the checkpoint that it goes on from."""

from pathlib import Path

from muzero_jax.config import Config, ConfigError
from muzero_jax.runs import jsonl


def forget(folder: Path, after: int) -> None:
  """Removes rows of metrics and evaluations, and videos, of more than `after` agent steps.

  They are of an agent that is lost: the run may be another one when it has done as many steps.

  Args:
    folder: the run's folder. Videos that are elsewhere, behind a symbolic link, are not removed.
    after: agent steps of the checkpoint.

  Raises:
    OSError: a file cannot be written or removed.
  """
  for name in ("metrics.jsonl", "evaluations.jsonl"):
    jsonl.forget(folder / name, after)
  place = folder / "video"
  for path in [] if place.is_symlink() else place.glob("*.*"):
    if path.suffix in (".mp4", ".json") and path.stem.isdecimal() and int(path.stem) > after:
      path.unlink()


def check_nothing_is_lost(config: Config, folder: Path) -> None:
  """Raises ConfigError if a run that starts anew would remove what an earlier one there made.

  Evaluations are made after a checkpoint, and the second checkpoint after the first one: where
  there are evaluations, or metrics so far on, there was one.
  """
  if config.override_config:
    return
  rows = jsonl.read(folder / "metrics.jsonl")
  steps = rows[-1].get("env_steps", 0) if rows else 0
  evaluated = jsonl.read(folder / "evaluations.jsonl")
  if evaluated or steps >= 2 * config.save_every > 0:
    what = "was evaluated" if evaluated else f"has done {steps:,} steps"
    raise ConfigError(
      f"--workdir={config.workdir}: the run there {what}, and has no checkpoint any more; "
      "name another folder, or use --override_config to start it again from the beginning, without "
      "its metrics and evaluations."
    )
