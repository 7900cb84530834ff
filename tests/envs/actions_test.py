"""Names of actions: only where they are known for certain."""

import pytest

from muzero_jax.envs import actions


@pytest.mark.parametrize(
  ("kind", "task", "count", "names"),
  [
    ("catch", "Pong-v5", 3, ("left", "stay", "right")),
    ("envpool", "Freeway-v5", 3, ("NOOP", "UP", "DOWN")),
    ("envpool", "Freeway-v5", 18, actions.ALL),
    ("envpool", "Qbert-v5", 6, ()),  # has six actions, as Pong has, but others
    ("gymnasium", "CartPole-v1", 2, ("left", "right")),
    ("gymnax", "Freeway-v5", 3, ()),
    ("custom", "games:pong", 3, ()),
  ],
)
def test_names(kind, task, count, names):
  assert actions.names(kind, task, count) == names
