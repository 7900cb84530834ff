"""Returns whose n and discount are annealed, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax import build
from muzero_jax.targets import bootstrap, policy
from muzero_jax.targets.annealed import Annealed
from muzero_jax.targets.maker import TargetMaker
from muzero_jax.targets.returns import Returns
from muzero_jax.types import Model
from tests import builders


def made(values=bootstrap.recorded):
  """n goes from 4 to 1 and the discount from 1/2 to 7/8, in two gradient steps."""
  returns = Returns(1, 0.875, clip_rewards=False)
  maker = TargetMaker(values, policy.recorded, returns, unroll=0)
  return Annealed(maker, n_step=4, discount=0.5, steps=2)


def test_the_paper():
  """BBF: 10 to 3 and 0.97 to 0.997 in 10,000 gradient steps, after each reset at 40,000. Halfway n
  is the root of 30, rounded, and the discount 1 less the root of 0.03 * 0.003.
  """
  maker = TargetMaker(bootstrap.recorded, policy.recorded, Returns(3, 0.997), unroll=0)
  annealed = Annealed(maker, 10, 0.97, steps=10_000, period=40_000, resets=1)
  steps = jnp.array([0, 5_000, 10_000, 39_999, 40_000, 45_000, 80_000, 85_000])
  n, discount = jax.jit(jax.vmap(annealed.at))(steps)
  np.testing.assert_array_equal(n, [10, 5, 3, 3, 10, 5, 3, 3])
  half = 1 - np.sqrt(0.03 * 0.003)
  expected = [0.97, half, 0.997, 0.997, 0.97, half, 0.997, 0.997]
  np.testing.assert_allclose(discount, expected, rtol=1e-6)


def test_there_are_as_many_as_resets_of_the_network():
  """In 10,000 gradient steps there are resets after 3,000 and 6,000; the last 3,000 are without."""
  settings = dict(env_steps=10_000, replay__warmup=0, replay__kind="uniform", env__num_envs=1)
  resets = dict(learner__updates_per_step=1.0, learner__reset_every=3_000, targets__anneal=500)
  config = builders.config(env__kind="catch", **settings, **resets)
  found = build.build(config).loop.learner.targets
  assert isinstance(found, Annealed)
  assert (found.period, found.resets) == (3_000, build.make_resets(config).count) == (3_000, 2)


def network():
  """The target network's values: the newest frame, one number."""
  return Model(
    *(None,) * 1,  # type: ignore
    encode=lambda params, frames: frames[:, -1].astype(jnp.float32),
    predict=lambda params, hidden: (jnp.zeros((hidden.shape[0], 2)), hidden),
    step=None,  # type: ignore
    decode=lambda logits: logits[..., 0],
    encode_scalar=lambda x: x[..., None],
  )


@pytest.mark.parametrize("kind", ["recorded", "target"])
def test_returns_by_hand(kind):
  """Rewards 1, 2, 4, 8, and values 16, 32, 64, 128 at the steps after the root. Two gradient steps,
  and later ones, make n of 4, 2, 1 and a discount of 1/2, 3/4, 7/8.
  """
  values = np.array([0, 16, 32, 64, 128])
  one = builders.example(
    1, unroll=0, n_step=4, frames=values[None, :, None].astype(np.uint8),
    reward=[1, 2, 4, 8], value=values,
  )  # fmt: skip
  stale = bootstrap.TargetNetwork(network(), stack=1, unroll=0, n=1, every_step=False)
  maker = made(bootstrap.recorded if kind == "recorded" else stale)
  key = jax.random.key(0)
  make = jax.jit(lambda step: maker({"step": step}, key, one).value[0, 0])
  found = [float(make(jnp.int32(step))) for step in (0, 1, 2, 9)]
  expected = [1 + 1 + 1 + 1 + 128 / 16, 1 + 2 * 0.75 + 32 * 0.75**2, 1 + 16 * 0.875]
  np.testing.assert_allclose(found, [*expected, expected[-1]], rtol=1e-6)
