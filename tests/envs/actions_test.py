"""Names of actions: only where they are known for certain."""

import jax
import jax.numpy as jnp
import pytest

from muzero_jax.envs import actions, gymnax


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


@pytest.mark.parametrize("name", ["Asterix", "Breakout", "Freeway", "SpaceInvaders"])
def test_minatars_actions_of_the_same_class_have_the_same_effect(name):
  """Of MinAtar's six, those that the game does not use lead to the frame that staying leads to, and
  all others lead elsewhere. The steps before are one up, from which Freeway can go down, and stays.
  """
  pytest.importorskip("gymnax")
  task, key = f"{name}-MinAtar", jax.random.key(1)
  game = gymnax.make(task, full_action_set=True)
  state, _ = game.reset(jax.random.key(0))
  step = jax.jit(game.step)
  for action in (0, 0, 0, 2, 0, 0, 0, 0):
    state = step(key, state, jnp.int32(action))[0]
  reached = [step(key, state, jnp.int32(action))[1] for action in range(6)]
  same = {tuple(b for b in range(6) if (reached[a] == reached[b]).all()) for a in range(6)}
  assert same == set(actions.equivalent("gymnax", task, full_action_set=True))
  assert actions.equivalent("gymnax", task, full_action_set=False) == ()
