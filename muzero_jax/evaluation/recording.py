"""Plays episodes and keeps what the agent saw and thought at every step, for videos and reports."""

import dataclasses
import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.evaluation.evaluator import Evaluator, PlayState
from muzero_jax.search import trees
from muzero_jax.search.trees import Branches, SearchTree
from muzero_jax.targets.returns import clipped
from muzero_jax.types import Array, Decision, Key, Params, Root, TimeStep, record


@record
class Thought:
  """What the agent thinks at a step, in B environments."""

  decision: Decision
  prior: Array  # f32[B, A]   the network's policy
  value: Array  # f32[B]   the network's value
  reward: Array  # f32[B]   the model's reward for the action taken
  branches: Branches | None


@dataclasses.dataclass(frozen=True)
class Step:
  """A step of a recording; the agent's numbers are in the units it trains on."""

  number: int  # in its episode, from 0
  episode: int  # from 0
  score: float  # of the episode up to here, raw
  reward: float  # of the transition into this step, in the units of training
  discount: float  # of that transition, the environment's: 0 where the return ended
  last: bool
  prior: np.ndarray  # f32[A]   the network's policy
  policy: np.ndarray  # f32[A]   the search's policy
  action: int  # not carried out at a `last` step
  value: float  # the search's
  predicted_value: float  # the network's
  predicted_reward: float  # of the action taken
  depth: int  # of the tree's deepest node
  tree: SearchTree | None
  frame: "Packed"  # the newest frame that the agent sees
  image: "Packed"  # the game as it is shown


@dataclasses.dataclass(frozen=True)
class Packed:
  """A compressed array, because an episode has thousands of frames."""

  data: bytes
  shape: tuple[int, ...]
  dtype: Any

  @classmethod
  def of(cls, array: Any) -> "Packed":
    array = np.ascontiguousarray(array)
    return cls(zlib.compress(array.tobytes(), 1), array.shape, array.dtype)

  def array(self) -> np.ndarray:
    return np.frombuffer(zlib.decompress(self.data), self.dtype).reshape(self.shape)


@dataclasses.dataclass(frozen=True)
class Recording:
  """Whole episodes, one after the other; the last one may have been cut off."""

  steps: list[Step]
  discount: float  # per agent step
  stack: int  # frames that the network sees

  @property
  def scores(self) -> list[float]:
    """The raw return of every episode, or of the part of it that was recorded."""
    ends = {step.episode: step.score for step in self.steps}
    return list(ends.values())

  @property
  def cut_off(self) -> bool:
    return not self.steps[-1].last

  @functools.cached_property
  def returns(self) -> np.ndarray:
    """The actual discounted return after each step, f64[T], in the units of training.

    Where an episode was truncated or cut off, it bootstraps with the search's value.
    """
    returns = np.zeros(len(self.steps))
    for t in reversed(range(len(self.steps))):
      step = self.steps[t]
      if step.last or t == len(self.steps) - 1:
        returns[t] = 0.0 if step.last and not step.discount else step.value
      else:
        after = self.steps[t + 1]
        returns[t] = after.reward + self.discount * after.discount * returns[t + 1]
    return returns

  def rewards(self, t: int) -> float | None:
    """The reward that step t's action brought, in the units of training; None if it had none."""
    if self.steps[t].last or t + 1 == len(self.steps):
      return None
    return self.steps[t + 1].reward

  def frames(self, t: int) -> list[np.ndarray]:
    """The stack of frames that the network sees at step t, oldest first."""
    number = self.steps[t].number
    backs = [min(back, number) for back in range(self.stack)]
    return [self.steps[t - back].frame.array() for back in reversed(backs)]


def play(
  evaluator: Evaluator,
  params: Params,
  key: Key,
  *,
  discount: float,
  clip: bool,
  names: Sequence[str] = (),
  renderer: Any = None,
  least: int = 50,
  most: int = 4500,
  progress: Callable[[int, float], None] | None = None,
) -> Recording:
  """Plays and records whole episodes.

  Args:
    evaluator: with one environment.
    params: the model's parameters, on one device.
    key: for the search.
    discount: per agent step.
    clip: whether the agent trains on the signs of rewards.
    names: of the actions.
    renderer: an EnvPool of one environment with the same seed and settings except for the size and
      color of its images (`envs.envpool.renderer`). It is stepped with the same actions, and its
      images are shown. None shows the frames that the agent sees.
    least: another episode is played as long as there are fewer agent steps.
    most: agent steps after which the recording stops.
    progress: called at every step with the number of steps and the episode's score so far.
  """
  program = jax.jit(functools.partial(think, evaluator))
  state = evaluator.start(key)
  steps: list[Step] = []
  while not _complete(steps, least, most):
    image = None if renderer is None else _rendered(renderer, steps)
    state, *found = program(params, state)
    timestep, thought = jax.device_get(found)
    step = _step(timestep, thought, steps[-1] if steps else None, image, clip)
    if thought.branches:
      tree = SearchTree.of(thought.branches, thought.decision, 0, discount, names)
      step = dataclasses.replace(step, tree=tree)
    steps.append(step)
    if progress:
      progress(len(steps), step.score)
  jax.block_until_ready(state)
  return Recording(steps, discount, evaluator.stack)


def _complete(steps: Sequence[Step], least: int, most: int) -> bool:
  """Whether an episode has ended after at least `least` steps, or there are more than `most`."""
  ended = bool(steps) and steps[-1].last
  return (ended and len(steps) >= least) or len(steps) > most


def _rendered(renderer: Any, steps: Sequence[Step]) -> np.ndarray:
  """The image of the next step, u8[H, W, 3], from an EnvPool that takes the recorded actions."""
  found = renderer.step(np.array([steps[-1].action], np.int32)) if steps else renderer.reset()
  return np.moveaxis(found[0][0], 0, -1)


def _step(
  timestep: TimeStep, thought: Thought, before: Step | None, image: np.ndarray | None, clip: bool
) -> Step:
  """A step without its tree, from what one environment and the agent gave; `before` is the step
  before it, also one of an earlier episode.
  """
  first = bool(timestep.first[0])
  same = None if first else before  # the step before it in the same episode
  return Step(
    number=same.number + 1 if same else 0,
    episode=before.episode + first if before else 0,
    score=(same.score if same else 0.0) + float(timestep.reward[0]),
    reward=float(clipped(timestep.reward, clip)[0]),
    discount=float(timestep.discount[0]),
    last=bool(timestep.last[0]),
    prior=np.asarray(thought.prior[0]),
    policy=np.asarray(thought.decision.policy[0]),
    action=int(thought.decision.action[0]),
    value=float(thought.decision.value[0]),
    predicted_value=float(thought.value[0]),
    predicted_reward=float(thought.reward[0]),
    depth=int(thought.decision.depth[0]),
    tree=None,
    frame=Packed.of(timestep.frame[0]),
    image=Packed.of(timestep.frame[0] if image is None else image),
  )


def think(
  evaluator: Evaluator, params: Params, state: PlayState
) -> tuple[PlayState, TimeStep, Thought]:
  """`Evaluator.step`, with all that the agent thinks."""
  state, timestep, root, key = evaluator.see(params, state)
  found = thought(evaluator, params, root, key)
  return evaluator.act(state, found.decision), timestep, found


def thought(evaluator: Evaluator, params: Params, root: Root, key: Key) -> Thought:
  """What the agent thinks at a root; `key` is of the search."""
  decision, branches = trees.decide(evaluator.search, params, key, root)
  model = evaluator.model
  _, reward_logits = model.step(params, root.hidden, decision.action)
  return Thought(
    decision,
    prior=jax.nn.softmax(root.policy_logits),
    value=root.value,
    reward=jnp.asarray(model.decode(reward_logits)),
    branches=branches,
  )
