"""A person plays one environment, and the agent of a run may say what it thinks of every step.

What shows the game and reads the keys is a `Screen` (`window.py` has the one with a window).
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.envs.base import Environment, check_step
from muzero_jax.evaluation import recording
from muzero_jax.evaluation.evaluator import Evaluator, PlayState
from muzero_jax.playing.keyboard import Keyboard
from muzero_jax.search.none import look_ahead
from muzero_jax.search.trees import Branches
from muzero_jax.types import Array, Key, Model, Params, Root, TimeStep

PAUSE = "p"


@dataclasses.dataclass(frozen=True)
class Opinion:
  """What the agent thinks of a step, in the units it trains on; A are its own actions."""

  prior: np.ndarray  # f32[A]   the network's policy
  policy: np.ndarray  # f32[A]   the search's policy
  q: np.ndarray  # f32[A]   see `q_values`; NaN where it is not known
  value: float  # the search's
  predicted_value: float  # the network's
  action: int  # that it would take


@dataclasses.dataclass(frozen=True)
class View:
  """A step, as a person sees it."""

  image: np.ndarray  # u8[H, W, 3] of Atari, else a frame of any shape and dtype
  number: int  # of the step in its episode, from 0
  score: float  # of the episode up to here, raw
  last: bool  # the episode is over; the action that follows only begins the next one
  opinion: Opinion | None


class Screen(Protocol):
  """What a person looks at."""

  def show(self, page: np.ndarray) -> None:
    """Shows an image u8[H, W, 3]; all of them have the same size."""
    ...

  def keys(self, held: bool) -> set[str] | None:
    """The keys pressed since the last call, as `keyboard` names them; None: the person leaves.

    Args:
      held: keys that are held down count, too.
    """
    ...

  def wait(self, fps: float) -> None:
    """Waits for the rest of 1 / `fps` seconds since the last call."""
    ...


class Seat:
  """Steps one environment with the actions of a person.

  Args:
    environment: of one environment.
    key: of the environment and of the agent's search.
    evaluator: of the agent whose opinion is asked, with this environment; its actions may be others
      than the environment's. None: nobody is asked.
    params: of the agent's search, on one device.
    discount: per agent step.
    renderer: as that of `recording.play`.
  """

  def __init__(
    self,
    environment: Environment,
    key: Key,
    *,
    evaluator: Evaluator | None = None,
    params: Params = None,
    discount: float = 1.0,
    renderer: Any = None,
  ):
    self._params, self._renderer = params, renderer
    self._action: int | None = None  # that was sent last
    self._before: View | None = None
    if evaluator is None:
      self._state = PlayState(environment.reset(key), jnp.zeros(0), key)
      self._look: Callable = jax.jit(functools.partial(_seen, environment))
    else:
      self._state = evaluator.start(key)
      self._look = jax.jit(functools.partial(_considered, evaluator, discount))
    self._send = jax.jit(environment.send)

  def look(self) -> View:
    """Receives the step that `act`, or the beginning, has started."""
    self._state, *found = self._look(self._params, self._state)
    timestep, opinion = jax.device_get(found)
    before = None if timestep.first[0] else self._before
    self._before = View(
      self._image(timestep),
      before.number + 1 if before else 0,
      (before.score if before else 0.0) + float(timestep.reward[0]),
      bool(timestep.last[0]),
      None if opinion is None else _of_one(*opinion),
    )
    return self._before

  def act(self, action: int) -> None:
    """Sends the person's action; call it once after each `look`."""
    self._action = action
    env = self._send(self._state.env, jnp.full(1, action, jnp.int32))
    self._state = dataclasses.replace(self._state, env=env)

  def close(self) -> None:
    """Waits until nothing runs any more."""
    jax.block_until_ready(self._state)

  def _image(self, timestep: TimeStep) -> np.ndarray:
    if self._renderer is None:
      return np.asarray(timestep.frame[0])
    if self._action is None:
      found = self._renderer.reset()
    else:
      found = self._renderer.step(np.array([self._action], np.int32))
    return np.moveaxis(found[0][0], 0, -1)


def _seen(
  environment: Environment, params: Params, state: PlayState
) -> tuple[PlayState, TimeStep, None]:
  del params
  env, timestep = environment.recv(state.env)
  check_step(environment.spec, timestep)
  return dataclasses.replace(state, env=env), timestep, None


def _considered(
  evaluator: Evaluator, discount: float, params: Params, state: PlayState
) -> tuple[PlayState, TimeStep, tuple[recording.Thought, Array]]:
  state, timestep, root, key = evaluator.see(params, state)
  thought = recording.thought(evaluator, params, root, key)
  q = q_values(evaluator.model, discount, params, root, thought.branches)
  return state, timestep, (thought, q)


def q_values(
  model: Model, discount: float, params: Params, root: Root, branches: Branches | None
) -> Array:
  """Q of every action at the roots, f32[B, A].

  It is the tree's, NaN for actions that it did not visit; without a tree that of the Q head; and
  without either, reward + discount * value of one step of the model.
  """
  size, actions = root.policy_logits.shape
  if branches is not None:
    found = branches.reward + discount * branches.value
    column = jnp.where(branches.parent == 0, branches.action, actions)  # others: out of range
    unknown = jnp.full((size, actions), jnp.nan)
    return unknown.at[jnp.arange(size)[:, None], column].set(found, mode="drop")
  if model.q is not None:
    return model.q.decode(model.q.logits(params, root.hidden))
  return look_ahead(model, discount, params, root)


def _of_one(thought: recording.Thought, q: np.ndarray) -> Opinion:
  """The opinion on the first of the environments, from arrays on the host."""
  return Opinion(
    prior=np.asarray(thought.prior[0]),
    policy=np.asarray(thought.decision.policy[0]),
    q=np.asarray(q[0]),
    value=float(thought.decision.value[0]),
    predicted_value=float(thought.value[0]),
    action=int(thought.decision.action[0]),
  )


def play(
  seat: Seat,
  screen: Screen,
  keyboard: Keyboard,
  draw: Callable[[View], np.ndarray],
  *,
  fps: float = 0.0,
  most: int = 0,
) -> list[tuple[float, int, bool]]:
  """Lets a person play until they leave.

  Args:
    seat: at the environment.
    screen: shows the game.
    keyboard: which key is which action.
    draw: the image of a step.
    fps: agent steps per second, where an action without a key is `keyboard.rest`; 0: each step
      waits for a key.
    most: agent steps after which playing stops; 0: no limit.

  Returns:
    For each episode its raw score, its agent steps, and whether it is over. The last one may not
    be over, and is left out if it has no step.
  """
  episodes: list[tuple[float, int, bool]] = []
  steps = 0
  while True:
    view = seat.look()
    screen.show(draw(view))
    episodes = episodes if view.number else [*episodes, (0.0, 0, False)]
    episodes[-1] = view.score, view.number, view.last
    action = None if most and steps >= most else _action(screen, keyboard, view, fps)
    if action is None:
      seat.close()
      return episodes if view.number else episodes[:-1]
    seat.act(action)
    steps += 1


def _action(screen: Screen, keyboard: Keyboard, view: View, fps: float) -> int | None:
  """The person's next action; None if they leave."""
  paused = False
  while True:
    screen.wait(fps or 30.0)
    keys = screen.keys(held=fps > 0)
    if keys is None:
      return None
    paused ^= PAUSE in keys
    if paused:
      continue
    action = keyboard.action(keys)
    if action is not None:
      return action
    if fps or (view.last and keys):
      return keyboard.rest
