"""Imports point down, and each foreign library is known in one place only."""

import ast
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# A module imports from earlier layers, or from its own. A room stands for all of its modules that
# have no entry of their own.
LAYERS = [
  ["types", "config", "optional", "rules", "evaluation.intervals", "device"],
  ["envs", "networks", "replay", "targets"],
  ["search", "losses", "diagnostics"],
  ["actor", "learner"],
  ["loop", "evaluation.evaluator", "evaluation.probe", "evaluation.scores"],
  ["flags", "custom", "player"],
  ["build"],
  ["evaluation.recording"],
  ["evaluation.canvas"],
  ["evaluation.protocols", "evaluation.moments", "evaluation.video", "runs"],
  ["evaluation"],
  ["reporting", "benchmark", "studies", "playing"],
  ["train"],
  ["together"],
  ["api"],
]
HOMES = {
  "mctx": ["search/"],
  "envpool": ["envs/envpool.py"],
  "gymnax": ["envs/gymnax.py"],
  "gymnasium": ["envs/gymnasium.py"],
  "jaxtari": ["envs/jaxtari.py"],
  "orbax": ["runs/storage.py"],
  "absl": ["flags.py"],
  "tensorboardX": ["runs/events.py", "reporting/board.py"],
  "matplotlib": ["reporting/plots.py"],
  "imageio": ["evaluation/video.py"],
  "PIL": ["evaluation/canvas.py", "playing/panel.py"],
  "pygame": ["playing/window.py"],
  "scipy": ["evaluation/intervals.py"],
  "tqdm": ["runs/progress.py"],
  "wandb": ["reporting/tracker.py"],
  "submitit": ["studies/submission.py"],
}
OPTIONAL = (
  "gymnax",
  "gymnasium",
  "jaxtari",
  "pygame",
  "submitit",
  "wandb",
)  # extras in pyproject.toml
MODULES = sorted((ROOT / "muzero_jax").rglob("*.py"))


def imports(path: pathlib.Path) -> set[str]:
  """Dotted names that a file imports, with what it takes from them."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      names |= {f"{node.module}.{alias.name}" for alias in node.names}
  return names


def layer(dotted: str) -> int | None:
  """Of muzero_jax.a.b: where a.b, or else the room a, stands in LAYERS."""
  parts = dotted.split(".")[1:]
  prefixes = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
  return next(
    (number for prefix in prefixes for number, names in enumerate(LAYERS) if prefix in names), None
  )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
  own = "muzero_jax." + ".".join(path.relative_to(ROOT / "muzero_jax").with_suffix("").parts)
  if path.name == "__init__.py":
    assert not any(name.startswith("muzero_jax") for name in imports(path))
    return
  assert layer(own) is not None, f"{own} has no layer"
  for name in imports(path):
    if name.startswith("muzero_jax.") and name != "muzero_jax.__version__":
      assert layer(name) <= layer(own), f"{own} imports {name} from above"


def test_every_library_is_declared():
  """Also one that another library brings along; those in `OPTIONAL` are not needed."""
  lines = (ROOT / "requirements.txt").read_text().splitlines()
  declared = {re.split(r"[^\w-]", line)[0] for line in lines if not line.startswith("#")}
  names = {name.split(".")[0] for path in MODULES for name in imports(path)}
  foreign = names - set(sys.stdlib_module_names) - {"muzero_jax", *OPTIONAL}
  distributions = {"absl": "absl-py", "orbax": "orbax-checkpoint", "PIL": "pillow"}
  assert {distributions.get(name, name) for name in foreign} <= declared


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_known_in_one_place(library):
  for path in MODULES:
    inside = path.relative_to(ROOT / "muzero_jax").as_posix()
    if not inside.startswith(tuple(HOMES[library])):
      assert not any(name.split(".")[0] == library for name in imports(path)), (
        f"{inside} imports {library}"
      )
