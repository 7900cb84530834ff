"""Mapping over devices, and ties of order."""

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.device import ordering, parallel


def test_pmapped_gives_every_device_its_own_and_means_over_all():
  mesh = parallel.mesh()

  def fn(shared, local, count):
    return shared + parallel.mean(local), local + count, parallel.axis_index()

  shared = parallel.replicate(jnp.float32(0), mesh)
  local = parallel.stack([jnp.float32(1), jnp.float32(3)], mesh)
  shared, local, index = parallel.pmapped(fn, mesh)(shared, local, jnp.int32(10))
  assert float(shared) == 2.0  # the mean of 1 and 3
  np.testing.assert_array_equal(local, [11.0, 13.0])
  np.testing.assert_array_equal(index, [0, 1])
  assert parallel.is_replicated(shared)


def test_ties_change_nothing():
  token = jnp.arange(8, dtype=jnp.uint8)
  for on in (
    jnp.float32(1e38),
    jnp.float32(jnp.nan),
    jnp.float32(jnp.inf),
    jnp.int32(7),
    jnp.zeros(8, jnp.uint8) + 255,
  ):
    np.testing.assert_array_equal(jax.jit(ordering.after)(token, on), token)
    assert not bool(ordering.never(on))


def test_ties_survive_the_compiler():
  """The compiled program still computes what is waited for: the tie was not folded away."""

  def wait(token, x):
    return ordering.after(token, jnp.sin(x))

  text = jax.jit(wait).lower(jnp.zeros(8, jnp.uint8), jnp.float32(0)).compile().as_text()
  assert "sine" in text


def test_never_finds_the_first_array_of_numbers():
  assert not bool(ordering.never((jax.random.key(0), jnp.zeros(2, bool), jnp.ones(3))))
