"""What a run leaves when it diverges: the batch and the state, and a sentence that says why."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from muzero_jax.build import Run
from muzero_jax.config import Config
from muzero_jax.device import distributed, parallel
from muzero_jax.learner import EVIDENCE
from muzero_jax.runs import workdir
from muzero_jax.runs.state import State
from muzero_jax.types import Sample

FOLDER = "diverged"


def stopped(
  run: Run, state: State, evidence: Mapping[str, Any], folder: Path, newest: int | None
) -> str:
  """Saves the batch and the state of the step at which the learner stopped; what there is to say.

  The program ends with the tick of that step, so that the replay still holds the batch.

  Args:
    run: the run.
    state: its state after that tick.
    evidence: the metrics of the program whose names begin with `EVIDENCE`.
    folder: the run's folder.
    newest: agent steps of the newest checkpoint; None where there is none.
  """
  _, *found = np.asarray(evidence[f"{EVIDENCE}found"], np.float64)[0].tolist()
  terms, index, weight = (evidence[f"{EVIDENCE}{name}"] for name in ("terms", "index", "weight"))
  means = (np.asarray(terms, np.float64).mean(0) / index.shape[1]).tolist()
  means = dict(zip(run.loop.learner.terms, means, strict=True))
  learner, env_steps = state.shared.learner, int(state.shared.ticks) * run.width
  why = reason(found, means, run.config)
  facts = {"env_steps": env_steps, "updates": int(learner.step), "reason": why, "terms": means}
  facts |= dict(zip(("loss", "gradient_norm", "largest_parameter"), found, strict=True))
  draw = jax.jit(
    jax.vmap(jax.vmap(run.loop.ring.example, (None, 0, None)), (0, 0, None)),
    out_shardings=parallel.replicated(run.devices),
  )
  batch = Sample(draw(state.local.replay, index, learner.step), index, weight)
  try:
    if distributed.is_first():
      save(folder, facts, learner, batch)
    where = f"its batch and the state before it are in {folder / FOLDER}"
  except OSError as error:
    where = f"its batch and the state could not be saved ({error.strerror})"
  return (
    f"At {env_steps:,} steps {why}. That gradient step was not taken; {where}. "
    f"{advice(run.config, newest)}"
  )


def save(folder: Path, facts: Mapping[str, Any], state: Any, batch: Any) -> Path:
  """Writes the state and the batch of a gradient step that diverged; replaces those before.

  Args:
    folder: the run's folder.
    facts: written as facts.json; numbers that are not finite become words there.
    state: pytree of the learner's state before the step, written as state.npz.
    batch: pytree of the batch, with a leading device axis, written as batch.npz. In both files the
      arrays have the names of their paths in the pytree, such as "example.frames".

  Returns:
    The folder that they are in.

  Raises:
    OSError: they cannot be written.
  """
  place = folder / FOLDER
  place.mkdir(exist_ok=True)
  for name, tree in (("state", state), ("batch", batch)):
    draft = place / f".{name}.npz"
    draft.unlink(missing_ok=True)
    np.savez(draft, allow_pickle=False, **_named(tree))
    os.replace(draft, place / f"{name}.npz")
  workdir.write(place / "facts.json", json.dumps(_worded(facts), indent=2) + "\n")
  return place


def _named(tree: Any) -> dict[str, np.ndarray]:
  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {jax.tree_util.keystr(path).strip("."): np.asarray(x) for path, x in leaves}


def _worded(value: Any) -> Any:
  if isinstance(value, Mapping):
    return {name: _worded(x) for name, x in value.items()}
  return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def reason(found: Sequence[float], terms: Mapping[str, float], config: Config) -> str:
  """Says why a gradient step was rejected.

  Args:
    found: its loss, the norm of its gradient, and the largest parameter after it.
    terms: the mean of each loss term over the batch.
    config: the run's settings.
  """
  loss, norm, largest = found
  bad = [f"loss/{name} ({value})" for name, value in terms.items() if not math.isfinite(value)]
  if bad:
    return f"{', '.join(bad)} became infinite or no number"
  if not math.isfinite(loss):
    return f"the loss became {loss}, though each of its terms is finite"
  if not math.isfinite(norm):
    largest_term = max(terms, key=lambda name: abs(terms[name]))
    return (
      f"the gradient's norm became {norm}, though the loss is finite ({loss:g}, most of it "
      f"loss/{largest_term})"
    )
  if largest <= (config.optimizer.limit or math.inf):
    return "the targets of the value became infinite or no numbers"
  return (
    f"a parameter would have become as large as {largest:g} (--optimizer.limit="
    f"{config.optimizer.limit:g})"
  )


def advice(config: Config, saved: int | None) -> str:
  """Says how to go on: with flags that a resumed run accepts.

  Args:
    config: the run's settings.
    saved: agent steps of the newest checkpoint; None where there is none.
  """
  lower = f"--optimizer.learning_rate={config.optimizer.learning_rate / 10:g}"
  if saved is None:
    return f"No checkpoint was saved yet: start it again with a lower learning rate, {lower}."
  skip = f"--skip_nonfinite={max(10, 2 * config.skip_nonfinite)}"
  return (
    f"The newest checkpoint, of {saved:,} steps, is from before: resume it with a lower learning "
    f"rate, {lower} --override_config, or, if such steps are rare, with {skip}."
  )
