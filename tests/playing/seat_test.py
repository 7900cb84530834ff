"""A person plays: the logic, without a window."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from launch import cli
from launch import play as command
from muzero_jax.config import ConfigError
from muzero_jax.envs import catch, pure
from muzero_jax.evaluation.evaluator import Evaluator
from muzero_jax.playing import panel
from muzero_jax.playing.keyboard import Keyboard
from muzero_jax.playing.seat import Opinion, Seat, View, play, q_values
from muzero_jax.search.gumbel import Gumbel
from muzero_jax.search.horizons import TwoHorizons
from muzero_jax.search.none import NoSearch
from muzero_jax.search.trees import Branches
from muzero_jax.types import Model, Root

CATCH = Keyboard({"left": 0, "stay": 1, "right": 2}, 3)


class Script:
  """A screen for somebody who presses these keys, one set after the other, and then leaves."""

  def __init__(self, *keys):
    self._keys, self.shown, self.waits, self.held = list(keys), [], [], None

  def show(self, page):
    self.shown.append(page)

  def keys(self, held):
    self.held = held
    return self._keys.pop(0) if self._keys else None

  def wait(self, fps):
    self.waits.append(fps)


def four_rows():
  """Catch with 4 rows: an episode has 3 transitions. The paddle begins in column 2 of 5."""
  return pure.PureEnvironment(catch.catch(rows=4), 1)


def draw(view):
  return view


def test_a_game_waits_for_its_keys():
  """The ball is 2 columns away at most, and 3 steps are enough: who follows it has caught it."""
  screen = Script()
  calls = []

  def keys(held):
    calls.append(held)
    view = screen.shown[-1]
    if len(screen.shown) > 5:
      return None
    if len(calls) == 1:
      return set()  # nothing is pressed: the game waits
    if view.last:
      return {"x"}  # any key begins the next episode
    ball, paddle = view.image[:-1].max(0).argmax(), view.image[-1].argmax()
    return {"left"} if ball < paddle else {"right"} if ball > paddle else {"1"}

  screen.keys = keys
  seat = Seat(four_rows(), jax.random.key(0))
  episodes = play(seat, screen, CATCH, draw)
  assert episodes == [(1.0, 3, True), (0.0, 1, False)]
  assert [view.number for view in screen.shown] == [0, 1, 2, 3, 0, 1]
  assert [view.last for view in screen.shown] == [False, False, False, True, False, False]
  assert set(screen.waits) == {30.0} and not any(calls) and screen.shown[0].opinion is None


def test_in_real_time_nothing_pressed_is_rest_and_p_pauses():
  screen = Script({"left"}, set(), {"p"}, {"right"}, {"p"}, set())
  seat = Seat(four_rows(), jax.random.key(0))
  play(seat, screen, CATCH, draw, fps=15.0)
  columns = [int(view.image[-1].argmax()) for view in screen.shown[:3]]
  assert columns == [2, 1, 1]  # to the left, rest; during the pause nothing happens
  # The third, in row 2, waits; then the episode's last step, and the person leaves.
  assert len(screen.shown) == 5 and screen.waits == [15.0] * 7 and screen.held


def test_it_stops_after_so_many_steps():
  screen = Script(*[{"1"}] * 99)
  episodes = play(Seat(four_rows(), jax.random.key(0)), screen, CATCH, draw, most=5)
  assert len(screen.shown) == 6 and [steps for _, steps, _ in episodes] == [3, 1]


def told():
  """A model whose hidden state is the frame: after action a there is a reward of a, value 10 and
  the policy logits (0, 0, log 2).
  """
  logits = jnp.log(jnp.array([1.0, 1.0, 2.0]))
  return Model(
    init=lambda key: {},
    encode=lambda params, frames: frames[:, -1].astype(jnp.float32),
    predict=lambda params, hidden: (
      jnp.tile(logits, (len(hidden), 1)),
      jnp.full((len(hidden), 1), 10.0),
    ),
    step=lambda params, hidden, action: (hidden, action[:, None].astype(jnp.float32)),
    decode=lambda logits: logits[..., 0],
    encode_scalar=lambda scalar: scalar[..., None],
  )


def test_the_agent_says_what_it_thinks_while_the_person_acts():
  environment, model = four_rows(), told()
  evaluator = Evaluator(environment, model, NoSearch(model, 0.5).for_evaluation(), stack=2)
  seat = Seat(environment, jax.random.key(0), evaluator=evaluator, params={}, discount=0.5)
  seat.look()
  seat.act(0)
  view = seat.look()
  seat.act(1)
  seat.close()
  assert int(view.image[-1].argmax()) == 1  # the person's action, not the agent's
  opinion = view.opinion
  np.testing.assert_allclose(opinion.prior, [0.25, 0.25, 0.5], rtol=1e-5)
  np.testing.assert_allclose(opinion.q, [0 + 5, 1 + 5, 2 + 5], rtol=1e-5)
  assert opinion.predicted_value == 10 and opinion.action == 2 and opinion.policy.argmax() == 2


def test_q_of_an_agent_whose_search_is_around_a_search_is_its_trees():
  """Two simulations over three actions: what was not visited is not known."""
  environment, model = four_rows(), told()
  search = TwoHorizons(Gumbel(model, 0.5, 2), model).for_evaluation()
  evaluator = Evaluator(environment, model, search, stack=2)
  seat = Seat(environment, jax.random.key(0), evaluator=evaluator, params={}, discount=0.5)
  opinion = seat.look().opinion
  seat.act(1)
  seat.close()
  assert np.isnan(opinion.q).sum() == 1 and opinion.q[2] == 2 + 5


def test_q_of_a_tree_by_hand():
  """Root and three nodes: action 2 leads to node 1, action 0 to node 2, and node 3 is below node 1.
  Action 1 was not visited. Q = reward + 0.5 value.
  """

  def row(*values):
    return jnp.array([values])

  branches = Branches(
    parent=row(-1, 0, 0, 1),
    action=row(0, 2, 0, 1),
    prior=row(0.0, 0.5, 0.25, 1.0),
    reward=row(0.0, 1.0, -1.0, 9.0),
    visits=row(4, 2, 1, 1),
    value=row(0.0, 4.0, 6.0, 9.0),
    predicted=row(0.0, 0.0, 0.0, 0.0),
    root_prior=row(0.25, 0.25, 0.5),
  )
  root = Root(hidden=jnp.zeros((1, 1)), policy_logits=jnp.zeros((1, 3)), value=jnp.zeros(1))
  found = q_values(told(), 0.5, {}, root, branches)
  np.testing.assert_allclose(found, [[-1 + 3, np.nan, 1 + 2]])


def test_the_panel_shows_the_game_and_the_opinion():
  image = np.zeros((210, 160, 3), np.uint8)
  image[:, :, 1] = 200
  names = ("left", "stay", "right")
  alone = panel.Panel("Pong-v5", "keys").draw(View(image, 3, 1.0, False, None))
  assert alone.shape == (710, 512, 3) and alone[300, 200].tolist() == [0, 200, 0]
  opinion = Opinion(
    prior=np.array([1.0, 0.0, 0.0]),
    policy=np.array([0.0, 0.0, 1.0]),
    q=np.array([0.5, np.nan, 1.0]),
    value=1.0,
    predicted_value=0.5,
    action=2,
  )
  both = panel.Panel("Pong-v5", "keys", names).draw(View(image, 3, 1.0, True, opinion))
  assert both.shape == (710, 892, 3)
  blue = (both == (0x4F, 0x9B, 0xE0)).all(-1)[110:, 600:]
  rows = np.flatnonzero(blue.any(1)) + 110
  assert 160 + 13 <= rows.min() and rows.max() < 190  # the bar of the third action only


@pytest.fixture(autouse=True)
def devices_as_they_are(monkeypatch):
  """Commands choose how many devices there are, which a process can do only once."""
  monkeypatch.setattr(cli, "use_devices", lambda count: None)


def test_without_pygame_or_with_flags_of_two_games_there_is_one_sentence(monkeypatch):
  monkeypatch.setitem(sys.modules, "pygame", None)
  with pytest.raises(ConfigError, match=r"needs pygame.*: pip install 'muzero_jax\[play\]'\.$"):
    command.main(["play", "--env.kind=catch"])
  with pytest.raises(ConfigError, match=r"^--env.task: with --workdir the game is that of"):
    command.main(["play", "--workdir=x", "--env.task=Pong-v5"])
