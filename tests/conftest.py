"""What all tests share: strictness, and components small enough to compile in seconds."""

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", False)


@pytest.fixture
def key():
  """A PRNG key."""
  return jax.random.key(0)
