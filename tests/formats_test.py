"""Nothing that the program reads can run code: no pickle, no eval, no np.load of objects."""

import ast
import pathlib
import pickle

import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.runs.checkpoint import Checkpoints

ROOT = pathlib.Path(__file__).parent.parent
FILES = sorted([*(ROOT / "muzero_jax").rglob("*.py"), *(ROOT / "launch").rglob("*.py")])
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "yaml"}
CALLS = {"eval", "exec", "load_pickle", "loads_pickle"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_can_run_code(path):
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      assert not MODULES & {alias.name.partition(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert (node.module or "").partition(".")[0] not in MODULES
    elif isinstance(node, ast.Call):
      called = ast.unparse(node.func)
      assert called not in CALLS
      if called in ("np.load", "numpy.load", "jnp.load"):
        assert "allow_pickle=False" in ast.unparse(node)


def test_a_checkpoint_is_read_without_pickle(tmp_path, monkeypatch):
  """By orbax and what it calls, too."""
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(
      1, {"seconds": 2.0, "pending": {}}, {"w": jnp.arange(3.0)}, {"key": jnp.zeros(1)}
    )

  def refuse(*_, **__):
    raise AssertionError("pickle")

  for name in ("load", "loads", "Unpickler"):
    monkeypatch.setattr(pickle, name, refuse)
  monkeypatch.setattr(np, "load", refuse)
  with Checkpoints(tmp_path, read_only=True) as checkpoints:
    found = checkpoints.load(
      lambda saved: (saved.progress(), saved.restore(learner={"w": jnp.zeros(3)}))
    )
  assert found[0]["seconds"] == 2.0 and found[1]["learner"]["w"].tolist() == [0, 1, 2]
