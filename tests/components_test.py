"""From settings to components: what cannot be made is refused in a sentence."""

import jax.numpy as jnp
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
