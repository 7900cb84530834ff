"""The adapter for JAXtari, with JAXtari's rules of Pong, and rectangles in place of its sprites,
which it would download.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("jaxtari")

from muzero_jax.config import ConfigError
from muzero_jax.envs import jaxtari, pure
from muzero_jax.envs.base import GameError
from muzero_jax.envs.envpool import Atari

pytestmark = pytest.mark.long  # it compiles each rendered game for seconds

KEY = jax.random.key(0)
DOWN, ATARI = 3, Atari(frame_height=42, frame_width=32, noop_max=1, fire_reset=False)


def install_sprites(folder, monkeypatch):
  """Pong's sprites as rectangles: enemy red, player green, ball white."""
  pong = folder / "jaxtari" / "sprites" / "pong"
  pong.mkdir(parents=True)
  (folder / "jaxtari" / ".alternative_sprites_installed").touch()
  (pong.parent / ".version").write_text("1")
  for name, height, width, color in (
    ("background", 210, 160, (1, 1, 1)),
    ("enemy", 16, 4, (200, 0, 0)),
    ("player", 16, 4, (0, 200, 0)),
    ("ball", 4, 2, (255, 255, 255)),
    *((f"player_score_{i}", 20, 12, (236, 236, 236)) for i in range(10)),
    *((f"enemy_score_{i}", 20, 12, (236, 236, 236)) for i in range(10)),
  ):
    np.save(pong / f"{name}.npy", np.full((height, width, 4), (*color, 255), np.uint8))
  monkeypatch.setenv("XDG_DATA_HOME", str(folder))


@pytest.fixture(scope="module")
def pong(tmp_path_factory):
  with pytest.MonkeyPatch.context() as patch:
    install_sprites(tmp_path_factory.mktemp("data"), patch)
    yield jaxtari.make("pong", ATARI)


def scoring(state, enemy_score=0):
  """The state one frame before the enemy scores."""
  inner = state.env_state.replace(
    ball_x=jnp.int32(156),
    ball_vel_x=jnp.int32(1),
    player_y=jnp.float32(150),
    ball_y=jnp.int32(60),
    enemy_score=jnp.int32(enemy_score),
    step_counter=jnp.int32(100),
  )
  return state.replace(env_state=inner)


def test_a_step_is_four_frames(pong):
  """The lost point counts once, though it is lost in the first of four frames."""
  state, frame = pong.reset(KEY)
  assert frame.shape == (42, 32) == pong.frame_shape and frame.dtype == jnp.uint8
  assert pong.num_actions == 6
  new, _, reward, discount, last = jax.jit(pong.step)(KEY, scoring(state), jnp.int32(0))
  assert (reward, discount, last) == (-1, 1, False)
  assert new.step - state.step == 4 and new.env_state.enemy_score == 1


def test_nothing_happens_after_the_end(pong):
  """The 21st point ends the episode in its first frame: the other three are not played."""
  state, _ = pong.reset(KEY)
  new, _, reward, discount, last = jax.jit(pong.step)(KEY, scoring(state, 20), jnp.int32(0))
  assert (reward, discount, last) == (-1, 0, True)
  assert new.step - state.step == 1


def test_a_time_limit_truncates(pong):
  state, _ = pong.reset(KEY)
  late = state.replace(step=jnp.int32(ATARI.max_episode_steps * 4 - 1))
  _, _, reward, discount, last = jax.jit(pong.step)(KEY, late, jnp.int32(0))
  assert (reward, discount, last) == (0, 1, True)


def test_actions_move_the_paddle_in_the_picture(pong):
  """The player's paddle, at x = 140 of 160, is at column 28 of 32 and brighter than what is around
  it; after five steps down it is lower.
  """
  state, frame = pong.reset(KEY)
  rows = [int(np.argmax(np.asarray(frame)[8:38, 28]))]
  for _ in range(5):
    state, frame, *_ = jax.jit(pong.step)(KEY, state, jnp.int32(DOWN))
  rows.append(int(np.argmax(np.asarray(frame)[8:38, 28])))
  assert rows[1] > rows[0] + 3


def test_it_steps_in_batches(pong):
  """Several games side by side, in a scan: states keep their types."""
  environment = pure.PureEnvironment(pong, 2)

  def step(state, _):
    state, time = environment.recv(state)
    return environment.send(state, jnp.array([2, 3])), time

  times = jax.jit(lambda state: jax.lax.scan(step, state, length=3)[1])(environment.reset(KEY))
  assert times.frame.shape == (3, 2, 42, 32) and times.first[:, 0].tolist() == [True, False, False]
  assert (times.frame[2, 0] != times.frame[2, 1]).any()


def test_what_is_missing_is_said(tmp_path, monkeypatch):
  with pytest.raises(GameError, match="JAXtari has no such game; did you mean breakout"):
    jaxtari.make("breakuot", ATARI)
  monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
  with pytest.raises(GameError, match="sprites are not installed"):
    jaxtari.make("pong", ATARI)


def test_a_library_that_is_missing_is_named(monkeypatch):
  monkeypatch.setitem(__import__("sys").modules, "jaxtari", None)
  with pytest.raises(ConfigError, match=r"pip install 'muzero_jax\[jaxtari\]'"):
    jaxtari.check_task("pong")
