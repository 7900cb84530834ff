"""Diagnostics, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax import diagnostics
from muzero_jax.diagnostics import Calibration
from muzero_jax.replay.frames import Ring
from muzero_jax.targets.returns import Returns
from muzero_jax.types import Context, Model, Root, Targets
from tests import builders


def test_search_metrics():
  """Entropies: uniform over 4 is ln 4; a sure choice 0; (1/2, 1/2, 0, 0) is ln 2. The policy agrees
  with the prior's best action in the second game only: prior bests are 1 and 2, policy bests 0 and
  2.
  """
  prior = jnp.log(jnp.array([[0.2, 0.4, 0.2, 0.2], [0.25, 0.125, 0.5, 0.125]]))
  root = Root(jnp.zeros((2, 1)), prior, jnp.array([1.0, 2.0]))
  policy = jnp.array([[1.0, 0, 0, 0], [0, 0, 0.5, 0.5]])
  metrics = diagnostics.search_metrics(
    {},
    root,
    builders.decision(2, 4, policy=policy, value=[3.0, 5.0], depth=[2.0, 4.0]),
    None,
  )
  first = -(0.4 * np.log(0.4) + 3 * 0.2 * np.log(0.2))
  second = -(0.25 * np.log(0.25) + 2 * 0.125 * np.log(0.125) + 0.5 * np.log(0.5))
  np.testing.assert_allclose(metrics["search/prior_entropy"], [first + second, 2], rtol=1e-6)
  np.testing.assert_allclose(metrics["search/entropy"], [np.log(2), 2], rtol=1e-6)
  np.testing.assert_allclose(metrics["search/value"], [8, 2])
  np.testing.assert_allclose(metrics["search/prior_value"], [3, 2])
  np.testing.assert_allclose(metrics["search/agreement"], [1, 2])
  np.testing.assert_allclose(metrics["search/depth"], [6, 2])


def test_errors_by_unroll_step_count_known_targets_only():
  """Two examples, k = 1. A scalar's logits are the scalar itself. The second example is cut off
  before its last step.
  """
  model = Model(None, None, None, None, lambda logits: logits[..., 0], None)
  targets = builders.filled(
    Targets,
    None,
    reward=jnp.array([[1.0], [5.0]]),
    value=jnp.array([[2.0, 4.0], [0.0, 9.0]]),
    target_mask=jnp.array([[1.0, 1.0], [1.0, 0.0]]),
  )
  value = jnp.array([[1.0, 4.5], [-3.0, 0.0]])[..., None]
  context = builders.filled(
    Context,
    None,
    targets=targets,
    value_logits=value,
    reward_logits=jnp.array([[0.25], [0.0]])[..., None],
  )
  metrics = diagnostics.unroll_errors(model, context)
  expected = {
    "unroll/value_error_0": [4.0, 2.0],
    "unroll/value_error_1": [0.5, 1.0],
    "unroll/reward_error_1": [0.75, 1.0],
  }
  assert metrics.keys() == expected.keys()
  for name, pair in expected.items():
    np.testing.assert_allclose(metrics[name], pair)


def test_dead_units():
  """Of three units the first never moves and the second hardly; the third does, in one example
  only.
  """
  hidden = jnp.array([[1.0, 0.5, 0.0], [1.0, 0.5004, 0.0], [1.0, 0.5, 0.8]])
  np.testing.assert_allclose(diagnostics.dead_units(hidden), 2 / 3)
  np.testing.assert_allclose(diagnostics.dead_units(hidden.reshape(3, 1, 3)), 2 / 3)


def play(steps, discount=0.5):
  """One game; each step is (reward, discount, first, last, value). Returns what every step
  reported.
  """
  calibration, probe, reports = Calibration(discount), diagnostics.no_returns_pending(1), []
  for reward, discount, first, last, value in steps:
    time = builders.time_step(1, reward=reward, discount=discount, first=first, last=last)
    decision = builders.decision(1, 1, policy=1, value=value)
    probe, metrics = calibration.step(probe, time, decision)
    reports.append({name.split("/")[1]: tuple(np.asarray(pair)) for name, pair in metrics.items()})
  return reports


def test_calibration_compares_a_value_with_the_return_to_the_end():
  """γ 1/2. Value 3 at the start; rewards 7 (clipped to 1), then -1 with the end: 1 - 1/2 = 1/2.
  What was decided at the end does not count, nor does the reset; the next probe begins with the new
  episode: value 0.25, return 1.
  """
  reports = play(
    [
      (0, 1, True, False, 3.0),
      (7, 1, False, False, 9.0),
      (-1, 0, False, True, 100.0),
      (0, 1, True, False, 0.25),
      (1, 0, False, True, 50.0),
    ]
  )
  assert [report["error"][1] for report in reports] == [0, 0, 1, 0, 1]
  assert [reports[2][name][0] for name in ("value", "return", "error")] == [3.0, 0.5, 2.5]
  assert [reports[4][name][0] for name in ("value", "return", "error")] == [0.25, 1.0, 0.75]


def test_calibration_ends_where_little_is_left_and_begins_again():
  """γ 1/2: after five steps what lies ahead weighs 1/32 < 0.05 and is taken from the value
  then: 1/2 + 8/32 = 3/4, for a reward of 1 after two steps. The next probe begins in that very
  step, with the value 8.
  """
  steps = [
    (0, 1, True, False, 1.0),
    (0, 1, False, False, 0),
    (1, 1, False, False, 0),
    *[(0, 1, False, False, 0)] * 2,
    (0, 1, False, False, 8.0),
  ]
  reports = play([*steps, (1, 0, False, True, 0)])
  assert [report["error"][1] for report in reports] == [0, 0, 0, 0, 0, 1, 1]
  np.testing.assert_allclose([reports[5][name][0] for name in ("value", "return")], [1.0, 0.75])
  np.testing.assert_allclose([reports[6][name][0] for name in ("value", "return")], [8.0, 1.0])


def test_calibration_drops_what_the_time_limit_cuts_off():
  """A truncated episode says nothing about its return; the next one does."""
  reports = play(
    [
      (0, 1, True, False, 3.0),
      (1, 1, False, True, 5.0),
      (0, 1, True, False, 2.0),
      (1, 0, False, True, 0.0),
    ]
  )
  assert [report["error"][1] for report in reports] == [0, 0, 0, 1]
  assert reports[3]["value"][0] == 2.0


def test_calibration_drops_a_cut_even_where_little_is_left():
  """discount 0.04: what lies ahead of the cut weighs less than a probe ends at, and yet nothing is
  known of it.
  """
  reports = play(
    [
      (0, 1, True, False, 3.0),
      (1, 1, False, True, 5.0),
      (0, 1, True, False, 2.0),
      (1, 0, False, True, 0.0),
    ],
    discount=0.04,
  )
  assert [report["error"][1] for report in reports] == [0, 0, 0, 1]
  assert reports[3]["value"][0] == 2.0


# t: reward and discount into it, whether it begins or ends an episode, its recorded value, and the
# advantage of what was done.
STEPS = [
  (0, 1, True, False, 1.0, 0.25),
  (1, 1, False, False, 2.0, -1.0),
  (-3, 1, False, False, 4.0, 2.0),
  (5, 0, False, True, 0.0, 100.0),  # terminal: what is sent here has no consequence
  (0, 1, True, False, 8.0, 0.5),
  (0, 1, False, False, 0.0, 0.0),
  (0, 1, False, False, 0.0, 0.0),
  (0, 1, False, False, 0.0, 0.0),
  (0, 1, False, False, 0.0, 0.0),
]


def measured(clip=True):
  """What is reported after each step, with 2-step returns and γ 1/2. There are two games: the
  same, but that the second's search expected twice as much."""
  ring = Ring(9, 2, 2, (1,), stack=1, unroll=1, window=4)
  skill, replay, reports = (
    diagnostics.Skill(ring, Returns(2, 0.5, clip_rewards=clip)),
    ring.init(),
    [],
  )
  add, measure = jax.jit(ring.add), jax.jit(lambda replay: skill({}, None, None, replay))
  decision = builders.decision(2, policy=1, value=77, log_prob=77, advantage=77, depth=77)
  for reward, discount, first, last, value, advantage in STEPS:
    time = builders.time_step(2, reward=reward, discount=discount, first=first, last=last)
    replay = add(replay, decision, time, jnp.int32(0))
    reports.append({name: np.asarray(pair) for name, pair in measure(replay).items()})
    decision = builders.decision(2, policy=1, value=value, advantage=[advantage, 2 * advantage])
  return reports


def test_skill_by_hand():
  """Returns: t = 0: 1 - 1/2 + 4/4 = 3/2; 1: -1 + 1/2 * 1 = -1/2, for the episode ends; 2: 1; 4: 0.
  Less the values 1, 2, 4 and 8, y is 1/2, -5/2, -3, -8. x is 1/4, -1, 2, 1/2, and twice that in the
  second game. A step is measured four steps later, when its window is complete; nothing is before,
  and the end of the episode, t = 3, never is."""
  reports = measured()
  x, y = np.array([0.25, -1, 2, 0, 0.5]), np.array([0.5, -2.5, -3, 0, -8])
  counts = np.array([2, 2, 2, 0, 2])
  for report in reports[:4]:
    assert not any(pair.any() for pair in report.values())
  for i, report in enumerate(reports[4:]):
    np.testing.assert_allclose(report["search/skill"], [3 * x[i] * y[i], 5 * x[i] ** 2], atol=1e-6)
    np.testing.assert_allclose(
      report["search/skill_residual"], [2 * y[i] ** 2, 5 * x[i] ** 2], atol=1e-6
    )
    np.testing.assert_allclose(report["search/advantage"], [3 * abs(x[i]), counts[i]], atol=1e-6)
    # Two steps share rewards, or 1 / (1 - 1/2) = 2: one in two is independent.
    np.testing.assert_allclose(
      report["search/independent_steps"], [counts[i] / 2, min(1, counts[i] / 2)], atol=1e-5
    )


def test_skill_of_raw_rewards():
  """t = 0: 1 - 3/2 + 4/4 - 1 = -1/2."""
  np.testing.assert_allclose(
    measured(clip=False)[4]["search/skill"], [3 * 0.25 * -0.5, 5 / 16], atol=1e-6
  )


@pytest.mark.parametrize("skill", [1.0, 0.0])
def test_the_slope_is_the_skill(skill):
  """Where what comes is what was expected, the slope is 1; where it is the same whatever was
  expected, 0. By sums over two steps."""
  x = np.array([-2.0, 2.0])
  y = skill * x + (1 - skill) * 3
  sums = {
    "search/skill": (np.sum(x * y), np.sum(x * x)),
    "search/skill_residual": (np.sum(y * y), np.sum(x * x)),
  }
  assert sums["search/skill"][0] / sums["search/skill"][1] == skill
  # What is left: nothing, or 18 of 8 in two steps.
  error = diagnostics.derived({**sums, "search/independent_steps": (2.0, 1.0)})[
    "search/skill_error"
  ]
  np.testing.assert_allclose(error, 0 if skill else np.sqrt(18 / 8 / 2), atol=1e-7)


def test_the_skills_error_by_hand():
  """Slope 3/4; 10/4 - 9/16 = 31/16 of x's squares is left over 31 independent steps: sqrt(1/16).
  Where something is missing or nothing was measured there is none."""
  sums = {
    "search/skill": (3.0, 4.0),
    "search/skill_residual": (10.0, 4.0),
    "search/independent_steps": (31.0, 20.0),
  }
  assert diagnostics.derived(sums) == {"search/skill_error": 0.25}
  assert diagnostics.derived({"episode/return": (6.0, 3.0)}) == {"episode/count": 3}
  for name in ("search/skill", "search/independent_steps"):
    assert diagnostics.derived({other: pair for other, pair in sums.items() if other != name}) == {}
    assert diagnostics.derived({**sums, name: (0.0, 0.0)}) == {}


def test_twins_by_hand():
  """Q is 1, 3, 5, 5 times a number of the root: rewards 1, 3, 5, 0, and a value of 10 after the
  last action, γ 1/2. Twins differ by 2 and 0: 2 on average of the squares; classes by 5 - 2 =
  3: 9. The roots' numbers are 1, 1, 1, 2: 7 times that in all. The fifth root is one too many."""
  rewards, values = jnp.array([1.0, 3.0, 5.0, 0.0]), jnp.array([0.0, 0.0, 0.0, 10.0])

  def step(params, hidden, action):
    return hidden * values[action][:, None], hidden * rewards[action][:, None]

  model = Model(
    None,
    None,
    lambda params, hidden: (jnp.zeros((hidden.shape[0], 4)), hidden),
    step,
    lambda logits: logits[..., 0],
    None,
  )
  root = Root(jnp.array([[1.0], [1.0], [1.0], [2.0], [100.0]]), jnp.zeros((5, 4)), jnp.zeros(5))
  twins = diagnostics.EquivalentActionsQ(model, 0.5, ((0, 1), (2, 3)))
  metrics = twins({}, root, None, None)
  np.testing.assert_allclose(metrics["search/twins"], [7 * 2, 7 * 9], rtol=1e-6)
  np.testing.assert_allclose(metrics["search/q_between"], [7 * 9, 4], rtol=1e-6)


def test_twins_of_three_classes():
  """Q is 0, 2, 4, 4, 9: pairs within differ by 2 and 0, squares 4 and 0, 2 on average; means 1, 4,
  9 by 3, 8, 5: 98/3 on average."""
  q = jnp.array([0.0, 2.0, 4.0, 4.0, 9.0])

  def step(params, hidden, action):
    return hidden, q[action][:, None]

  model = Model(
    None,
    None,
    lambda params, hidden: (jnp.zeros((hidden.shape[0], 5)), hidden),
    step,
    lambda logits: logits[..., 0],
    None,
  )
  root = Root(jnp.zeros((2, 1)), jnp.zeros((2, 5)), jnp.zeros(2))
  metrics = diagnostics.EquivalentActionsQ(model, 0.5, ((0, 1), (2, 3), (4,)))({}, root, None, None)
  np.testing.assert_allclose(metrics["search/twins"], [2 * 2, 2 * 98 / 3], rtol=1e-6)


def test_drift_by_hand():
  """Encodings 0, 4 and 2, 6 have the mean 3 and an unbiased variance of 20/3: two of them are 40/3
  apart in the mean square. The unroll says 1 for 4 and 6 for 6: the mean square is 9/2.
  """
  unrolled, reached = jnp.asarray([[[1.0]], [[6.0]]]), jnp.asarray([[[0.0], [4.0]], [[2.0], [6.0]]])
  found = diagnostics.drift(unrolled, reached, jnp.ones((2, 2)))["unroll/drift_1"]
  np.testing.assert_allclose(found[0] / found[1], 9 / 2 / (40 / 3), rtol=1e-6)


def test_drift_leaves_out_what_follows_an_episode():
  """Without the last state of the first example 0, 2 and 6 remain: variance 28/3, and one distance,
  from 5 to 6.
  """
  unrolled, reached = jnp.asarray([[[1.0]], [[5.0]]]), jnp.asarray([[[0.0], [4.0]], [[2.0], [6.0]]])
  counts = jnp.asarray([[1.0, 0.0], [1.0, 1.0]])
  found = diagnostics.drift(unrolled, reached, counts)["unroll/drift_1"]
  np.testing.assert_allclose(found, [1, 2 * 28 / 3], rtol=1e-6)
  nothing = diagnostics.drift(unrolled, reached, jnp.zeros((2, 2)))["unroll/drift_1"]
  np.testing.assert_array_equal(nothing, [0, 0])


def test_drift_follows_the_recorded_actions():
  """The frame grows by 1 plus the action, and so does the hidden state of a model that knows the
  game; one that takes every action for 0 is wrong by the actions. An episode's last state counts,
  and what follows it does not.
  """
  ring = Ring(9, 2, 2, (1,), stack=1, unroll=1, window=3, later=1)

  def model(knows: int) -> Model:
    return Model(
      init=lambda key: {},
      encode=lambda params, frames: frames[:, -1].astype(jnp.float32),
      predict=lambda params, hidden: (hidden, hidden),
      step=lambda params, hidden, action: (hidden + 1 + knows * action[:, None], hidden),
      decode=lambda logits: logits,
      encode_scalar=lambda scalar: scalar,
    )

  @jax.jit
  def measure(replay):
    return [
      diagnostics.Drift(model(knows), ring)({}, None, None, replay)["unroll/drift_1"]
      for knows in (1, 0)
    ]

  add, replay, frames, action = jax.jit(ring.add), ring.init(), np.array([0, 10]), np.zeros(2, int)
  found = []
  for step in range(7):
    time = builders.time_step(
      2, frame=frames[:, None].astype(np.uint8), first=step == 4, last=step == 3
    )
    replay = add(replay, builders.decision(2, action=action), time, jnp.int32(0))
    found.append(np.asarray(measure(replay)))
    action = np.array([step % 2, 1])
    frames = np.array([0, 10]) if step == 3 else frames + 1 + action
  # A step is measured three rows later, when its window is complete. The actions at steps 0, 1 and
  # 2 are 0 and 1, 1 and 1, 0 and 1; step 3 ends the episode.
  knowing, ignorant = np.stack(found)[..., 0].T
  np.testing.assert_array_equal(knowing, 0)
  np.testing.assert_array_equal(ignorant, [0, 0, 0, 1, 2, 1, 0])
