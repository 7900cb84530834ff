"""What all tests share: two virtual devices, no silent broadcasting, and runs small enough to
compile in seconds.
"""

import jax
import pytest

from muzero_jax import config as configs

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")


LONG = ("tests/learning/", "tests/integration/")  # not part of the short tier


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
