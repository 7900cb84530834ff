"""What hidden states know of the emulator's RAM: regressions on recordings made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.envs.envpool import Atari, Observed
from muzero_jax.evaluation import probe
from muzero_jax.evaluation.probe import Recording
from muzero_jax.search.random import Random
from muzero_jax.types import Model

STEPS, GAMES = 60, 4


def recording(knows_action: bool) -> Recording:
  """Byte 0 moves by the action, 1 or 3; byte 1 is noise that nothing knows; byte 2 never changes.

  The hidden state is byte 0; the predicted one is where it moves to, or where it was.
  """
  random = np.random.RandomState(0)
  before = np.full((STEPS, GAMES, 128), 7, np.uint8)
  before[..., 0] = random.randint(10, 200, (STEPS, GAMES))
  after = before.copy()
  after[..., 0] += random.choice([1, 3], (STEPS, GAMES)).astype(np.uint8)
  before[..., 1], after[..., 1] = random.randint(1, 255, (2, STEPS, GAMES))
  hidden = before[..., :1] / np.float32(255)
  predicted = (after if knows_action else before)[..., :1] / np.float32(255)
  return Recording(hidden, predicted, before, after, np.ones((STEPS, GAMES), bool))


def test_dynamics_that_know_the_action_explain_more(monkeypatch):
  """With hardly any ridge: all of byte 0 now; after the step all of it only where the prediction
  has the action. The action's variance is 1 of about 55^2 = 3,000.
  """
  monkeypatch.setattr(probe, "RIDGE", 1e-9)
  right, blind = (probe.explained(recording(knows), [0, 1, 2], []) for knows in (True, False))
  for found in (right, blind):
    np.testing.assert_allclose(found["now"][0], 1, atol=1e-6)
    assert abs(found["now"][1]) < 0.1
    assert np.isnan(found["now"][2])
    assert 0.9990 < found["without_action"][0] < 0.9999
  np.testing.assert_allclose(right["predicted"][0], 1, atol=1e-6)
  np.testing.assert_allclose(blind["predicted"][0], blind["without_action"][0], atol=1e-6)


def test_steps_without_what_is_needed_are_left_out(monkeypatch):
  """Where byte 1 is 0 before or after, and where an episode ends, byte 0 is wrong: nobody
  notices.
  """
  monkeypatch.setattr(probe, "RIDGE", 1e-9)
  made = recording(True)
  before, after, valid = made.before.copy(), made.after.copy(), made.valid.copy()
  before[::5, :, 1], before[::5, :, 0] = 0, 250
  after[1::5, :, 1], after[1::5, :, 0] = 0, 250
  valid[2::5], before[2::5, :, 0] = False, 250
  spoiled = Recording(made.hidden, made.predicted, before, after, valid)
  found = probe.explained(spoiled, [0], needed=[1])
  np.testing.assert_allclose(found["now"], [1], atol=1e-3)
  np.testing.assert_allclose(found["predicted"], [1], atol=1e-3)


def test_changing_bytes():
  """Bytes 0 and 1 take many values, all others one; ordered by number."""
  assert probe.changing(recording(True), 5) == [0, 1]
  assert len(probe.changing(recording(True), 1)) == 1


def test_table():
  found = {name: np.array([0.5, 0.25]) for name in ("now", "predicted", "without_action")}
  assert "| ball x | 0.250 | 0.250 | 0.250 |" in probe.table(found, ["paddle", "ball x"])


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

  model = Model(
    None, encode, lambda params, hidden: (jnp.zeros((2, 6)), hidden), step, lambda x: x[:, 0], None
  )
  games = Observed("Pong-v5", 2, 0, Atari(frame_height=32, frame_width=32))
  made = probe.record(model, {}, Random(), games, jax.random.key(0), stack=2, steps=20)
  assert made.hidden.shape == made.predicted.shape == (20, 2, 1)
  np.testing.assert_array_equal(made.after[:-1], made.before[1:])
  moved = made.predicted - made.hidden
  assert set(np.unique(moved)) <= set(range(6)) and len(np.unique(moved)) > 3
  assert made.valid.all()  # no episode ends this early
