"""An agent in one file: all that is needed to act, and what is known about it.

The file is a ZIP archive, as NumPy's .npz files are, with a checksum of every member. Nothing in it
can run code:

* `agent.json`: the settings, the frames and actions of the environment, the agent steps, the
  versions of the packages, and the rows of evaluations.jsonl of these parameters
* one .npy file for each array of the search's parameters, named by its path
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from muzero_jax import __version__, build
from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError, StorageError
from muzero_jax.device import chips
from muzero_jax.envs.base import Spec
from muzero_jax.learner import no_statistics
from muzero_jax.runs import jsonl, restore, trees, workdir
from muzero_jax.runs.restore import Agent

FORMAT = "muzero_jax agent, format 1"
_FACTS = "agent.json"


def load(name: str | Path) -> Agent:
  """The agent in a file that `write` made, or of the newest checkpoint in a run's folder.

  Raises:
    ConfigError: there is none, or it is damaged.
  """
  return read(name) if _is_file(name) else restore.restore(str(name))


def settings(name: str) -> Config:
  """The settings of the agent in a file, or of the run in a folder.

  Raises:
    ConfigError: there is none.
  """
  return read(name).config if _is_file(name) else workdir.find(name)[1]


def check(name: str) -> None:
  """Checks that `load` finds an agent.

  Raises:
    ConfigError: it does not.
  """
  if not _is_file(name):
    restore.newest(name)


def _is_file(name: str | Path) -> bool:
  return bool(name) and workdir.place(name).is_file()


def facts(agent: Agent) -> dict[str, Any]:
  """What is to be known about the agent of a run, and can be written as JSON.

  Returns:
    A dictionary: "format"; "config", the settings by dotted name; "spec", the frames and actions;
    "env_steps"; "evaluations", the rows of evaluations.jsonl of the agent and of the random player,
    the newest under each protocol; "versions", "devices" and "revision" as in config.json.

  Raises:
    ConfigError: a file of the run cannot be read.
  """
  known = workdir.facts(agent.folder)
  spec = agent.spec
  return {
    "format": FORMAT,
    "config": configs.values(configs.replace(agent.config, {"workdir": ""})),
    "spec": {
      "num_actions": spec.num_actions,
      "frame_shape": list(spec.frame_shape),
      "frame_dtype": np.dtype(spec.frame_dtype).name,
    },
    "env_steps": agent.env_steps,
    "evaluations": _scores(agent),
    "versions": {"muzero_jax": __version__, **known.get("versions", {})},
    "devices": known.get("devices", []),
    "revision": known.get("revision", ""),
  }


def _scores(agent: Agent) -> list[dict[str, Any]]:
  """The newest evaluations under each protocol: of these parameters, and of the random player."""
  found = {}
  for row in jsonl.read(agent.folder / "evaluations.jsonl"):
    whose = row.get("agent")
    if "mean" in row and (whose == "random" or row.get("env_steps") == agent.env_steps):
      found[whose, row.get("protocol")] = row
  return sorted(found.values(), key=lambda row: row.get("agent") == "random")


def write(agent: Agent, known: dict[str, Any], path: Path) -> None:
  """Writes an agent to a file, which appears when it is complete.

  Args:
    agent: the agent.
    known: what `facts` returned.
    path: the file.

  Raises:
    StorageError: it cannot be written.
  """
  buffer = io.BytesIO()
  leaves = trees.named(jax.device_get(agent.params))
  with zipfile.ZipFile(buffer, "w") as archive:
    archive.writestr(_FACTS, json.dumps(known, indent=2) + "\n")
    for name, leaf in leaves.items():
      with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, np.asarray(leaf), allow_pickle=False)
  try:
    workdir.write(path, buffer.getvalue())
  except OSError as error:
    raise StorageError(f"{path} cannot be written ({error.strerror}).") from error


def read(name: str | Path) -> Agent:
  """Reads an agent that `write` wrote.

  No environment is made: a game need not be installed to ask its agent for actions.

  Returns:
    The agent, on one device of this process. Its `folder` is where commands write what comes of it:
    NAME.results beside the file.

  Raises:
    ConfigError: the file is no agent, is damaged, or is of another version with other parts.
  """
  path = workdir.place(name)
  known, arrays = _contents(path)
  config = workdir.settings(path, known["config"])
  given = known["spec"]
  dtype = np.dtype(given["frame_dtype"]).type
  spec = Spec(1, given["num_actions"], tuple(given["frame_shape"]), dtype)
  platform = chips.local().platform
  try:
    model = build.make_model(config, spec, platform)
    like = {**jax.eval_shape(model.init, jax.random.key(0)), "statistics": no_statistics()}
  except ConfigError:
    raise
  except (
    Exception
  ) as error:  # for frames that no network of this kind takes: flax raises many kinds
    raise _damaged(path, error) from error
  if _types(arrays) != _types(trees.named(like)):
    raise ConfigError(
      f"{path}: its parameters are not those of the network that version {__version__} makes of "
      f"--network.kind={config.network.kind} and --network.size={config.network.size}; use the "
      "version that wrote it."
    )
  params = jax.device_put(trees.filled(like, arrays), jax.local_devices()[0])
  search = build.make_search(config, model, platform)
  folder = path.with_name(f"{path.name}.results")
  return Agent(folder, config, model, search, params, known["env_steps"], spec)


def _types(arrays: dict[str, Any]) -> dict[str, tuple]:
  """The shape and dtype of every array."""
  return {name: (x.shape, x.dtype) for name, x in arrays.items()}


def _contents(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
  """What `facts` returned, and the arrays by name.

  Raises:
    ConfigError: the file is no agent, cannot be read, or is damaged.
  """
  try:
    with zipfile.ZipFile(path) as archive:
      known = json.loads(archive.read(_FACTS).decode())
      _check(known)
      names = [name for name in archive.namelist() if name != _FACTS]
      return known, {name.removesuffix(".npy"): _array(archive, name) for name in names}
  except OSError as error:
    raise ConfigError(
      f"{path}: cannot be read ({error.strerror or error}); name a file that launch.export wrote."
    ) from error
  except Exception as error:  # damage can show as nearly any error of zipfile, json or NumPy
    raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ConfigError:
  reason = " ".join(str(error).split())[:80] or type(error).__name__
  return ConfigError(
    f"{path}: is no agent, or is damaged ({reason}); name a file that launch.export wrote, or "
    "another copy of it."
  )


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
  """Reads an array; reading to its end compares the checksum.

  A compressed one, which `write` does not make, could be larger than the memory.
  """
  if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
    raise ValueError(f"{name} is compressed")
  return np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)


def _check(known: Any) -> None:
  """Raises an error if `known` is not what `facts` returns."""
  if known["format"] != FORMAT:
    raise ValueError(f"its format is {str(known['format'])[:40]!r}, not {FORMAT!r}")
  spec = known["spec"]
  sizes = [known["env_steps"], spec["num_actions"], *spec["frame_shape"]]
  if not all(type(size) is int and 0 <= size < 2**53 for size in sizes):
    raise ValueError("a size in it is no number")
  if not 1 <= len(spec["frame_shape"]) <= 3 or not all(sizes[1:]):
    raise ValueError("it has no actions, or no frames")
  if np.dtype(spec["frame_dtype"]).kind not in "iuf" or not isinstance(known["config"], dict):
    raise ValueError("it has no settings, or frames of another type")
