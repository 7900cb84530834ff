"""What hidden states know of the emulator's RAM: regressions on recordings made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.envs.envpool import Atari, Observed
from muzero_jax.evaluation import probe
from muzero_jax.evaluation.probe import Trajectories
from muzero_jax.types import Model

STEPS, GAMES = 60, 4


def recording() -> Trajectories:
  """Byte 0 is moved by the action, by 1 or 3; byte 1 is noise that nothing knows; byte 2 never
  changes. The hidden state is byte 0.
  """
  random = np.random.RandomState(0)
  action = random.choice([1, 3], (STEPS, GAMES)).astype(np.int32)
  ram = np.full((STEPS, GAMES, 128), 7, np.uint8)
  ram[..., 0] = 10 + np.cumsum(action, 0) - action
  ram[..., 1] = random.randint(1, 255, (STEPS, GAMES))
  hidden = ram[..., :1].astype(np.float32)
  zeros = np.zeros((STEPS, GAMES), np.float32)
  return Trajectories(hidden, action, ram, np.ones((STEPS, GAMES), np.int32), zeros, zeros + 1)


def model(knows_action: bool) -> Model:
  """Dynamics that add the action to the hidden state, or its mean."""

  def step(params, hidden, action):
    return hidden + (action[:, None] if knows_action else 2), hidden

  return Model(None, None, None, step, None, None)


def test_dynamics_that_know_the_action_explain_more(monkeypatch):
  """With hardly any ridge: all of byte 0 now; later all of it only where the prediction has the
  actions. Four actions have a variance of 4, the byte has one of about 120^2 / 12 = 1,200.
  """
  monkeypatch.setattr(probe, "RIDGE", 1e-9)
  made = recording()
  for knows in (True, False):
    predicted = {j: probe.predict(model(knows), {}, made, j) for j in (1, 4)}
    assert predicted[4].shape == (STEPS - 4, GAMES, 1)
    found = probe.explained(made, predicted, [0, 1, 2], [])
    np.testing.assert_allclose(found["now"][0], 1, atol=1e-6)
    assert abs(found["now"][1]) < 0.1
    assert np.isnan(found["now"][2])
    assert 0.99 < found["without_actions_4"][0] < found["without_actions_1"][0] < 0.9999
    for j in (1, 4):
      expected = 1 if knows else found[f"without_actions_{j}"][0]
      np.testing.assert_allclose(found[f"predicted_{j}"][0], expected, atol=1e-6)


def test_steps_without_what_is_needed_are_left_out(monkeypatch):
  """Where byte 1 is 0, byte 0 is wrong, and a new episode starts at 10: nobody notices."""
  monkeypatch.setattr(probe, "RIDGE", 1e-9)
  made = recording()
  ram, hidden, episode = made.ram.copy(), made.hidden.copy(), made.episode.copy()
  ram[::5, :, 1], ram[::5, :, 0] = 0, 250
  episode[30:] += 1
  ram[30:, :, 0] = ram[:-30, :, 0]
  hidden[30:] = hidden[:-30]
  spoiled = Trajectories(hidden, made.action, ram, episode, made.reward, made.discount)
  spoiled.action[30:] = made.action[:-30]
  predicted = {3: probe.predict(model(True), {}, spoiled, 3)}
  found = probe.explained(spoiled, predicted, [0], needed=[1])
  np.testing.assert_allclose(found["now"], [1], atol=1e-6)
  np.testing.assert_allclose(found["predicted_3"], [1], atol=1e-6)


def test_nothing_to_fit():
  """With no step at which the needed byte is known there is no number, and no error."""
  made = recording()
  made.ram[..., 3] = 0
  assert np.isnan(probe.explained(made, {}, [0], needed=[3])["now"]).all()


def test_changing_bytes():
  """Bytes 0 and 1 take many values, all others one; ordered by number."""
  assert probe.changing(recording(), 5) == [0, 1]
  assert len(probe.changing(recording(), 1)) == 1


def test_table():
  names = ("now", "predicted_1", "without_actions_1", "predicted_5", "without_actions_5")
  found = {name: np.array([0.5, i / 8]) for i, name in enumerate(names)}
  shown = probe.table(found, ["paddle", "ball x"])
  assert "| ball x | 0.000 | 1 | 0.125 | 0.250 |" in shown
  assert "| ball x | 0.000 | 5 | 0.375 | 0.500 |" in shown


@pytest.mark.parametrize("task", sorted(probe.NAMES))
def test_described_bytes_change_in_the_game(task):
  """Random play of the real game moves each byte that has a name."""
  games = Observed(task, 2, 0, Atari(frame_height=32, frame_width=32))
  random = np.random.RandomState(0)
  time, first = games.reset()
  assert time.frame.shape == (2, 32, 32) and first.shape == (2, 128)
  seen = [first]
  for _ in range(150):
    seen.append(games.step(random.randint(0, games.num_actions, 2))[1])
  kinds = [len(np.unique(np.stack(seen)[..., byte])) for byte in probe.NAMES[task]]
  assert min(kinds) > 2, dict(zip(probe.NAMES[task], kinds, strict=True))


def test_record_pairs_hidden_states_with_memory():
  """The hidden state is the newest frame's mean. Shapes, and RAM after step t is RAM before step
  t+1.
  """

  def encode(params, frames):
    return frames[:, -1].astype("float32").mean((1, 2))[:, None]

  def step(params, hidden, action):
    return hidden + action[:, None], hidden

  agent = Model(
    None, encode, lambda params, hidden: (jnp.zeros((2, 6)), hidden), step, lambda x: x[:, 0], None
  )
  games = Observed("Pong-v5", 2, 0, Atari(frame_height=32, frame_width=32))

  def act(params, key, root):
    return jax.random.randint(key, root.value.shape, 0, 6, jnp.int32)

  made = probe.record(agent, {}, act, games, jax.random.key(0), stack=2, steps=20)
  assert made.hidden.shape == (20, 2, 1) and made.ram.shape == (20, 2, 128)
  assert (made.ram[1:] != made.ram[:-1]).any((1, 2)).all()
  moved = probe.predict(agent, {}, made, 1) - made.hidden[:-1]
  np.testing.assert_allclose(moved[..., 0], made.action[:-1])
  assert set(np.unique(made.action)) <= set(range(6)) and len(np.unique(made.action)) > 3
  assert (made.episode == 1).all() and (made.discount == 1).all()  # no episode ends this early
  assert made.reward.shape == (20, 2)
