"""From settings to components: what cannot be made is refused in a sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax import components
from muzero_jax.config import ConfigError
from muzero_jax.envs.base import Spec


def spec(*shape):
  return Spec(num_envs=2, num_actions=3, frame_shape=shape, frame_dtype=jnp.uint8)


@pytest.mark.parametrize("kind, size", [("resnet", "nano"), ("vector", "muzero"), ("mlp", "nano")])
def test_a_network_that_does_not_come_in_a_size_is_refused(make_config, kind, size):
  with pytest.raises(ConfigError, match=rf"--network\.size={size}: the {kind} network comes in .*tiny"):
    components.make_model(make_config(network__kind=kind, network__size=size, env__kind="gymnax"), spec(48, 48))


@pytest.mark.parametrize("kind", ["resnet", "vector"])
def test_networks_for_pictures_refuse_numbers(make_config, kind):
  with pytest.raises(ConfigError, match=r"use --network\.kind=mlp"):
    components.check_frames(make_config(network__kind=kind, env__kind="gymnax", env__task="CartPole-v1"), spec(4))
  components.check_frames(make_config(network__kind="mlp"), spec(4))


@pytest.mark.parametrize(
  "decay, expected", [(0, [0.02, 0.04, 0.06, 0.06, 0.06, 0.06, 0.06]), (3, [0.02, 0.04, 0.06, 0.046, 0.032, 0.018, 0.018])]
)
def test_the_learning_rate_warms_up_and_decays(make_config, decay, expected):
  """Two steps of warm-up to 0.06, then three down to 0.3 of it. AdamW's step for a constant gradient is the rate itself."""
  settings = dict(optimizer__learning_rate=0.06, optimizer__warmup=2, optimizer__decay=decay, optimizer__final=0.3)
  optimizer = components.make_optimizer(make_config(**settings, optimizer__weight_decay=0.0, optimizer__clip=0.0))
  params = jnp.zeros(1)
  state, steps = optimizer.init(params), []
  for _ in expected:
    update, state = jax.jit(optimizer.update)(jnp.ones(1), state, params)
    steps.append(-float(update[0]))
  np.testing.assert_allclose(steps, expected, rtol=1e-4)
