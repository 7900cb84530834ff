"""What all tests share: two virtual devices, no silent broadcasting, compiled programs kept for the
next run, and runs small enough to compile in seconds.
"""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from muzero_jax import config as configs
from muzero_jax.envs.envpool import EnvPool

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")


# Not part of the short tier, nor is what is marked `long` by hand.
LONG = (
  "tests/learning/",
  "tests/integration/",
  "tests/benchmark/flops_test.py",
  "tests/benchmark/sweep_test.py",
  "tests/benchmark/workloads_test.py",
)


def pytest_configure(config):
  """Keeps compiled programs in a folder below pytest's cache, for the next run of the tests."""
  folder = config.rootpath / ".pytest_cache" / "jax"
  jax.config.update("jax_compilation_cache_dir", str(folder))
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture(scope="session", autouse=True)
def no_pools_on_disk():
  """Keeps programs that step EnvPool out of the cache, and all that the process compiles later.

  `envs/envpool.py` switches the cache off when a pool is made, but JAX looks at that switch only
  when it compiles its first program; after `reset_cache` it looks again.
  """
  make = EnvPool.__init__

  def make_and_look_again(self, *args, **kwargs):
    make(self, *args, **kwargs)
    compilation_cache.reset_cache()

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(EnvPool, "__init__", make_and_look_again)
    yield


def pytest_collection_modifyitems(items):
  """Marks what is long by its folder."""
  for item in items:
    if any(folder in item.path.as_posix() for folder in LONG):
      item.add_marker(pytest.mark.long)


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
  configs.check(config)
  return config


@pytest.fixture(scope="session")
def make_config():
  """`catch_config`."""
  return catch_config
