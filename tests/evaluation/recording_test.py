"""Recorded games, on a game whose numbers can be read off: their returns, moments, pictures."""

import dataclasses
import json
import resource

import imageio.v2 as imageio
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from muzero_jax.envs import catch
from muzero_jax.envs.pure import PureEnvironment
from muzero_jax.evaluation import canvas, moments, recording, video
from muzero_jax.evaluation.canvas import Canvas
from muzero_jax.evaluation.evaluator import Evaluator
from muzero_jax.evaluation.recording import Packed, Recording, Step
from muzero_jax.search.gumbel import Gumbel
from muzero_jax.types import Model
from tests import fuzz

# Moves right, and predicts reward 2 for it; Q is the same for all actions.
MODEL = Model(
  init=lambda key: {},
  encode=lambda params, frames: frames.reshape(len(frames), -1)[:, :4].astype(jnp.float32),
  predict=lambda params, hidden: (
    jnp.tile(jnp.log(jnp.array([0.2, 0.2, 0.6])), (len(hidden), 1)),
    0.5 + jnp.zeros((len(hidden), 1)),
  ),
  step=lambda params, hidden, action: (hidden, 2.0 + jnp.zeros((len(hidden), 1))),
  decode=lambda logits: logits[..., 0],
  encode_scalar=lambda scalar: scalar[..., None],
)


def play(search, **options) -> Recording:
  evaluator = Evaluator(PureEnvironment(catch.catch(4, 3), 1), MODEL, search, 2)
  options = {"discount": 0.5, "clip": True, "names": ("left", "stay", "right")} | options
  return recording.play(evaluator, {}, jax.random.key(2), **options)


@pytest.fixture(scope="module")
def games() -> Recording:
  """Three whole episodes of 4 frames each."""
  return play(Gumbel(MODEL, 0.5, 3).for_evaluation(), least=9)


def test_a_game_is_recorded_with_what_the_agent_thinks(games):
  assert [(step.episode, step.number) for step in games.steps[3:6]] == [(0, 3), (1, 0), (1, 1)]
  assert len(games.steps) == 12 and not games.cut_off and len(games.scores) == 3
  first = games.steps[0]
  assert (first.value, first.predicted_value, first.predicted_reward) == (2.25, 0.5, 2.0)
  np.testing.assert_allclose(first.prior, [0.2, 0.2, 0.6], rtol=1e-5)
  assert first.action == 2 and first.tree.chosen == 2 and first.tree.simulations == 3
  # The paddle moves right; the stack is filled with the first frame of an episode.
  assert np.argmax(games.steps[1].frame.array()[3]) == 2 or games.steps[1].frame.array()[3, 2]
  np.testing.assert_array_equal(games.frames(4)[0], games.frames(4)[1])
  np.testing.assert_array_equal(games.frames(6)[0], games.steps[5].frame.array())
  # The reward comes with the last transition: discounted over 2, 1, 0 transitions before it.
  score = games.scores[0]
  assert abs(score) == 1
  np.testing.assert_allclose(games.returns[:4], [score / 4, score / 2, score, 0])
  assert [games.rewards(t) for t in range(4)] == [0, 0, score, None]


def recorded(values, policies, rewards) -> Recording:
  """A single episode that ends; discount 1/2."""
  pixel = Packed.of(np.zeros((1, 1), np.uint8))
  last = len(values) - 1
  steps = [
    Step(t, 0, 0.0, reward, float(t < last), t == last, np.array([0.5, 0.5]), np.array(policy), 0,
         value, 0.0, 0.0, 1, None, pixel, pixel)
    for t, (value, policy, reward) in enumerate(zip(values, policies, rewards, strict=True))
  ]  # fmt: skip
  return Recording(steps, 0.5, 1)


def test_a_game_that_is_cut_off_bootstraps():
  game = recorded([5.0, 6.0, 8.0], [[1.0, 0.0]] * 3, [0, 1, 0])
  cut = Recording([*game.steps[:2], dataclasses.replace(game.steps[2], last=False)], 0.5, 1)
  assert cut.cut_off and not game.cut_off
  np.testing.assert_allclose(game.returns, [1, 0, 0])
  # The last step's discount is 0 here, so that only the value of that step itself counts.
  np.testing.assert_allclose(cut.returns, [1, 0, 8])
  assert [cut.rewards(t) for t in range(3)] == [1, 0, None]


def test_a_truncated_game_bootstraps():
  game = recorded([5.0, 6.0, 8.0], [[1.0, 0.0]] * 3, [0, 1, 0])
  steps = [*game.steps[:2], dataclasses.replace(game.steps[2], discount=1.0)]
  np.testing.assert_allclose(Recording(steps, 0.5, 1).returns, [1 + 4 / 2, 4, 8])


def test_moments_by_hand():
  """Surprises |r' + v'/2 - v|: 0, 3, 1, and 2 at the end, where v' does not count."""
  even, sure = [0.5, 0.5], [1.0, 0.0]
  game = recorded([1.0, 2.0, 2.0, 2.0, 9.0], [even, even, sure, [0.6, 0.4], sure], [0, 0, 4, 2, 0])
  assert [moments.surprise(game, t) for t in range(4)] == [0, 3, 1, 2]
  assert [moments.disagreement(game, t) for t in range(4)] == [0, 0, 0.5, pytest.approx(0.1)]
  chosen = moments.choose(game)
  assert [t for t, why in chosen.items() if moments.SURPRISE in why] == [1, 3]
  assert [t for t, why in chosen.items() if moments.DISPUTE in why] == [2, 3]
  assert list(chosen) == [0, 1, 2, 3]  # those at a regular distance, of the first four


def test_moments_lie_apart():
  assert list(moments.largest({0: 5.0, 1: 4.0, 9: 3.0, 20: 0.0}, 3, apart=2)) == [0, 9]


def test_moments_are_read_as_they_were_written(games, tmp_path):
  path = tmp_path / "8.json"
  path.write_text(json.dumps({"search": "gumbel", "moments": moments.found(games)}))
  kind, found = moments.read(path)
  assert kind == "gumbel" and 4 <= len(found) <= 8
  assert all(moment.tree.names == ("left", "stay", "right") for moment in found)
  assert found[0].step == 0 and found[0].value == 2.25 and found[0].predicted_reward == 2.0


MOMENT = {
  **{name: 1.0 for name in ("score", "value", "predicted_value", "came", "disagreement")},
  **{"predicted_reward": 0.5, "reward": None, "surprise": 0.5, "why": ["x"], "episode": 0},
  **{"step": 3, "picture": "aGFsbG8=", "tree": None},
}


@settings(fuzz.fuzz, max_examples=10)
@given(fuzz.lines(MOMENT))
def test_whatever_stands_in_a_file_of_moments(tmp_path, line):
  path = tmp_path / "1.json"
  path.write_bytes(b'{"search": "gumbel", "moments": [' + line + b"]}")
  try:
    assert all(isinstance(moment.step, int) for moment in moments.read(path)[1])
  except ValueError as error:
    assert "describes no moments" in str(error)


@pytest.mark.parametrize(
  ("frame", "shape"),
  [
    (np.zeros((210, 160, 3), np.uint8), (420, 320, 3)),  # Atari at double size
    (np.zeros((10, 5), np.uint8), (420, 210, 3)),
    (np.zeros((10, 10, 4), np.uint8), (320, 320, 3)),
    (np.zeros(4, np.float32), (80, 320, 3)),
    (np.zeros((500, 1000), np.uint8), (160, 320, 3)),
    (np.zeros((11, 3), np.uint8), (418, 114, 3)),
    (np.zeros((3, 3, 3), np.uint8), (318, 318, 3)),
    (np.zeros((210, 21), np.uint8), (420, 42, 3)),
    (np.zeros((211, 21), np.uint8), (212, 22, 3)),
  ],
)
def test_a_game_of_any_shape_fills_its_box(games, frame, shape):
  step = dataclasses.replace(games.steps[0], image=Packed.of(frame))
  assert canvas.game(step).shape == shape


def test_planes_of_a_board_have_colors():
  board = np.zeros((1, 3, 2), np.uint8)
  board[0, 0, 0] = board[0, 1, 1] = 255
  black, first, second = canvas.as_image(board)[0, 2], *canvas.as_image(board)[0, :2]
  assert not black.any() and first.any() and second.any() and (first != second).any()


def test_the_agents_eye(games):
  """The longer bar is the likelier action's; the curves' mark moves."""
  drawn = Canvas(games, "catch", ("left", "stay", "right"), 3)
  pictures = [drawn.draw(t) for t in (0, 1, 11)]
  assert all(picture.shape == (556, 840, 3) and picture.dtype == np.uint8 for picture in pictures)
  gray = np.array([0x8A, 0x8F, 0x98])
  bars = [(pictures[0][y] == gray).all(-1).sum() for y in (200, 224, 248)]
  assert bars[0] == bars[1] == 55 and bars[2] == 163  # 20 %, 20 % and 60 % of 270 pixels, and one
  marks = [np.flatnonzero((picture[476, 16:824] > 200).all(-1)) for picture in pictures]
  assert [mark.tolist() for mark in marks] == [[8], [24], [184]]


def test_a_video_has_a_frame_for_each_step(games, tmp_path):
  path, seen = tmp_path / "video" / "8.mp4", []
  video.write(path, games, None, 5, seen.append)
  assert seen == list(range(1, 13)) and [file.name for file in path.parent.iterdir()] == ["8.mp4"]
  with imageio.get_reader(path) as film:
    facts = film.get_meta_data()
    assert facts["size"] == (316, 420) and facts["fps"] == 5 and sum(1 for _ in film) == 12


class Noise(Canvas):
  """Draws pictures that cannot be compressed."""

  def __init__(self): ...

  def draw(self, t):
    return np.random.default_rng(t).integers(0, 256, (320, 320, 3), np.uint8)


@pytest.fixture
def little_room():
  """Files of more than 100 kB cannot be written: ffmpeg is killed then."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
  yield
  resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
  ("times", "said"), [(1, "ffmpeg has not completed it"), (10, r"ffmpeg has ended: .*Broken pipe")]
)
def test_a_video_without_room_leaves_nothing(times, said, games, tmp_path, little_room):
  """Noticed after the last picture, of which ffmpeg holds some back, or before it."""
  game = dataclasses.replace(games, steps=games.steps * times)
  with pytest.raises(OSError, match=said) as caught:
    video.write(tmp_path / "8.mp4", game, Noise(), 5)
  assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_video_that_lacks_pictures_is_not_kept(games, tmp_path, monkeypatch):
  path, check = tmp_path / "8.mp4", video._check
  monkeypatch.setattr(video, "_check", lambda draft, frames: check(draft, frames + 1))
  with pytest.raises(OSError, match="ffmpeg has written 12 of 13 images"):
    video.write(path, games, None, 5)
  assert not list(tmp_path.iterdir())
