"""Diagnostics, by hand."""

import jax.numpy as jnp
import numpy as np

from muzero_jax import diagnostics
from muzero_jax.diagnostics import Calibration
from muzero_jax.types import Context, Decision, Model, Root, Targets, TimeStep


def test_search_metrics():
  """Entropies: uniform over 4 is ln 4; a sure choice 0; (1/2, 1/2, 0, 0) is ln 2. The policy agrees with the prior's best action in
  the second game only: prior bests are 1 and 2, policy bests 0 and 2."""
  prior = jnp.log(jnp.array([[0.2, 0.4, 0.2, 0.2], [0.25, 0.125, 0.5, 0.125]]))
  root = Root(jnp.zeros((2, 1)), prior, jnp.array([1.0, 2.0]))
  policy = jnp.array([[1.0, 0, 0, 0], [0, 0, 0.5, 0.5]])
  metrics = diagnostics.search_metrics(
    {},
    root,
    Decision(jnp.zeros(2, jnp.int32), policy, jnp.array([3.0, 5.0]), jnp.zeros(2), jnp.zeros(2), jnp.array([2.0, 4.0])),
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
  """Two examples, k = 1. A scalar's logits are the scalar itself. The second example is cut off before its last step."""
  model = Model(None, None, None, None, lambda logits: logits[..., 0], None)
  targets = Targets(
    reward=jnp.array([[1.0], [5.0]]),
    value=jnp.array([[2.0, 4.0], [0.0, 9.0]]),
    policy=None,
    alive=None,
    known=jnp.array([[1.0, 1.0], [1.0, 0.0]]),
  )
  value = jnp.array([[1.0, 4.5], [-3.0, 0.0]])[..., None]
  context = Context(None, targets, None, None, value, jnp.array([[0.25], [0.0]])[..., None])
  metrics = diagnostics.unroll_errors(model, context)
  expected = {"unroll/value_error_0": [4.0, 2.0], "unroll/value_error_1": [0.5, 1.0], "unroll/reward_error_1": [0.75, 1.0]}
  assert metrics.keys() == expected.keys()
  for name, pair in expected.items():
    np.testing.assert_allclose(metrics[name], pair)


def test_dead_units():
  """Of three units the first never moves and the second hardly; the third does, in one example only."""
  hidden = jnp.array([[1.0, 0.5, 0.0], [1.0, 0.5004, 0.0], [1.0, 0.5, 0.8]])
  np.testing.assert_allclose(diagnostics.dead_units(hidden), 2 / 3)
  np.testing.assert_allclose(diagnostics.dead_units(hidden.reshape(3, 1, 3)), 2 / 3)


def play(steps, gamma=0.5):
  """One game; each step is (reward, discount, first, last, value). Returns what every step reported."""
  calibration, probe, reports = Calibration(gamma), diagnostics.new_probe(1), []
  for reward, discount, first, last, value in steps:
    time = TimeStep(jnp.zeros(1), *(jnp.array([x], jnp.float32) for x in (reward, discount)), jnp.array([first]), jnp.array([last]))
    zero = jnp.zeros(1)
    decision = Decision(jnp.zeros(1, jnp.int32), jnp.ones((1, 1)), jnp.array([value], jnp.float32), zero, zero, zero)
    probe, metrics = calibration.step(probe, time, decision)
    reports.append({name.split("/")[1]: tuple(np.asarray(pair)) for name, pair in metrics.items()})
  return reports


def test_calibration_compares_a_value_with_the_return_to_the_end():
  """gamma 1/2. Value 3 at the start; rewards 7 (clipped to 1), then -1 with the end: 1 - 1/2 = 1/2. What was decided at the end does
  not count, nor does the reset; the next probe begins with the new episode: value 0.25, return 1."""
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
  """gamma 1/2: after five steps what lies ahead weighs 1/32 < 0.05 and is taken from the value then: 1/2 + 8/32 = 3/4, for a reward
  of 1 after two steps. The next probe begins in that very step, with the value 8."""
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
  reports = play([(0, 1, True, False, 3.0), (1, 1, False, True, 5.0), (0, 1, True, False, 2.0), (1, 0, False, True, 0.0)])
  assert [report["error"][1] for report in reports] == [0, 0, 0, 1]
  assert reports[3]["value"][0] == 2.0


def test_calibration_drops_a_cut_even_where_little_is_left():
  """gamma 0.04: what lies ahead of the cut weighs less than a probe ends at, and yet nothing is known of it."""
  reports = play([(0, 1, True, False, 3.0), (1, 1, False, True, 5.0), (0, 1, True, False, 2.0), (1, 0, False, True, 0.0)], gamma=0.04)
  assert [report["error"][1] for report in reports] == [0, 0, 0, 1]
  assert reports[3]["value"][0] == 2.0
