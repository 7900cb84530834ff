"""What all tests share: two virtual devices, no silent broadcasting, compiled programs kept for the
next run, and runs small enough to compile in seconds.
"""

import os

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from muzero_jax import config as configs
from muzero_jax import rules

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")


# Not part of the short tier, nor is what is marked `long` by hand.
LONG = (
  "tests/learning/",
  "tests/integration/",
  "tests/search/mctx_own_test.py",
  "tests/benchmark/flops_test.py",
  "tests/benchmark/workloads_test.py",
)
# Whole runs that the short tier has nevertheless: trained, resumed exactly, and damaged.
SHORT = tuple(f"tests/integration/{name}_test.py" for name in ("train", "exact", "damage"))


# Tests compile for longer than they run: with these options a program is compiled in about half the
# time, and runs more slowly. Later versions of XLA do not know the second one.
FAST = {"xla_backend_optimization_level": 0}
DEFAULT = {"xla_backend_optimization_level": 3}
if jax.__version_info__ < (0, 11):
  FAST["xla_cpu_use_fusion_emitters"] = False
  DEFAULT["xla_cpu_use_fusion_emitters"] = True


def pytest_configure(config):
  """Sets how these tests and the processes that they start compile, and keeps compiled programs in
  a folder below pytest's cache, for other tests and for the next run.
  """
  options = (f"--{name}={str(value).lower()}" for name, value in FAST.items())
  os.environ["XLA_FLAGS"] = " ".join([os.environ.get("XLA_FLAGS", ""), *options]).strip()
  folder = str(config.rootpath / ".pytest_cache" / "jax")
  for name, value in (
    ("jax_compilation_cache_dir", folder),
    ("jax_persistent_cache_min_compile_time_secs", 0.1),
  ):
    jax.config.update(name, value)
    os.environ[name.upper()] = str(value)


@pytest.fixture
def compiled_as_usual(monkeypatch):
  """Programs that are compiled ahead of time, such as the loop, are compiled as users do it."""
  compile = jax.stages.Lowered.compile
  monkeypatch.setattr(jax.stages.Lowered, "compile", lambda lowered: compile(lowered, DEFAULT))


def pytest_collection_modifyitems(items):
  """Marks what is long by its folder, and moves it to the front, so that all workers are busy
  until the end.
  """
  for item in items:
    path = item.path.as_posix()
    if any(folder in path for folder in LONG) and not path.endswith(SHORT):
      item.add_marker(pytest.mark.long)
  items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="module", autouse=True)
def programs_are_kept():
  """Keeps compiled programs again after tests with an EnvPool, which turns that off for good."""
  jax.config.update("jax_enable_compilation_cache", True)
  compilation_cache.reset_cache()


@pytest.fixture
def key():
  """A PRNG key."""
  return jax.random.key(0)


def catch_config(workdir="", **settings) -> configs.Config:
  """A run of Catch of a few seconds; settings by dotted name with '__' for the dots."""
  small = {
    "workdir": str(workdir),
    "env.kind": "catch",
    "env.num_envs": 4,
    "env.stack": 2,
    "env_steps": 512,
    "log_every": 128,
    "save_every": 0,
    "network.kind": "mlp",
    "network.support": 5,
    "search.num_simulations": 2,
    "replay.capacity": 512,
    "replay.warmup": 128,
    "targets.unroll": 2,
    "targets.n_step": 3,
    "learner.batch_size": 8,
    "learner.updates_per_step": 0.125,
    "evaluation.episodes": 4,
    "evaluation.random_episodes": 4,
  }
  config = configs.replace(
    configs.Config(), small | {name.replace("__", "."): value for name, value in settings.items()}
  )
  configs.check_ranges(config)
  rules.check(config)
  return config


@pytest.fixture(scope="session")
def make_config():
  """`catch_config`."""
  return catch_config
