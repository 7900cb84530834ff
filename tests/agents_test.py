"""The trained agents in docs/agents: they load with the code of today, and still win."""

from pathlib import Path

import envpool
import numpy as np
import pytest

import muzero_jax

AGENTS = sorted((Path(__file__).parent.parent / "docs" / "agents").glob("*.npz"))


def test_there_are_three():
  assert [path.stem for path in AGENTS] == ["pong_0", "pong_1", "pong_2"]


@pytest.mark.parametrize("path", AGENTS, ids=lambda path: path.stem)
def test_it_wins_points(path):
  """In 200 steps random play loses about four points in every game, and none of these any."""
  agent = muzero_jax.load_agent(path)
  player = agent.player()
  pool = envpool.make("Pong-v5", env_type="gymnasium", num_envs=4, **agent.envpool_options())
  (observation, _), first, total = pool.reset(), np.ones(4, bool), np.zeros(4)
  for _ in range(200):
    observation, reward, over, cut_off, _ = pool.step(player.act(observation, first))
    first = np.zeros(4, bool)
    total += reward
    assert not (over | cut_off).any()
  assert (total >= 2).all(), total
