"""Intrinsic rewards, by hand."""

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.targets import bootstrap, policy
from muzero_jax.targets.maker import TargetMaker
from muzero_jax.targets.novelty import IntrinsicRewards
from muzero_jax.targets.returns import Returns
from muzero_jax.types import Model
from tests import builders


def test_rewards_and_returns_by_hand():
  """Novelties are what the frames say: 6, 8 and 4, 4 at the two steps after the roots (2 is at the
  root, and does not count). Sums with a discount of 1/2 are 10 and 6, of which the root mean square
  is sqrt(68). Rewards -3, 0, 0, 5 are clipped to -1, 0, 0, 1, but bonuses are not.
  """
  known = Model(
    *(None,) * 6,  # type: ignore
    novelty=lambda params, frames: params["scale"] * frames[:, 0].astype(jnp.float32),
  )
  frames = np.array([[2, 6, 8], [2, 4, 4]], np.uint8)[..., None]
  example = builders.example(2, unroll=1, n_step=1, frames=frames, reward=[[-3, 0], [0, 5]])
  intrinsic = IntrinsicRewards(known, stack=1, weight=2.0, discount=0.5, clip_rewards=True)
  returns = Returns(1, 0.5)
  maker = TargetMaker(bootstrap.recorded, policy.recorded, returns, unroll=1, rewards=intrinsic)
  params = {"online": {"scale": 1.0}}
  made = jax.jit(maker)(params, jax.random.key(0), example)
  bonus = 2 / np.sqrt(68) * np.array([[6, 8], [4, 4]])
  rewards = np.array([[-1, 0], [0, 1]]) + bonus
  np.testing.assert_allclose(made.reward, rewards[:, :1], rtol=1e-6)
  np.testing.assert_allclose(made.value, rewards, rtol=1e-6)  # n = 1, and values are 0
  # The unit of novelty does not matter.
  more = jax.jit(intrinsic)({"online": {"scale": 9.0}}, example)
  np.testing.assert_allclose(more, rewards, rtol=1e-6)
