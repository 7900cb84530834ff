"""Operations are counted as often as they are done."""

import jax
import numpy as np

from muzero_jax import build
from muzero_jax.benchmark import flops


def test_model_steps_are_counted_as_often_as_they_are_made(make_config):
  """A simulation more costs the same whether it is the third or the ninth, and so does a step of
  the unroll.
  """

  def count(**settings):
    return flops.flops(build.build(make_config(**settings)))

  act = [count(search__num_simulations=s)["act"] for s in (2, 3, 9)]
  np.testing.assert_allclose(act[2] - act[0], 7 * (act[1] - act[0]), rtol=1e-3)
  assert act[1] > act[0] > 0
  learn = [count(targets__unroll=k)["learn"] for k in (2, 3, 7)]
  np.testing.assert_allclose(learn[2] - learn[0], 5 * (learn[1] - learn[0]), rtol=0.05)
  # Twice the batch: twice the work, but for the optimizer's. Half the updates: half of it.
  double, half = (
    count(learner__batch_size=16)["learn"],
    count(learner__updates_per_step=0.0625)["learn"],
  )
  one = count()["learn"]
  assert 1.5 * one < double < 2 * one
  np.testing.assert_allclose(half, one / 2)


def test_reanalysis_is_counted(make_config):
  """8 examples of 2 + 1 steps: 24 roots are searched, where acting searches 4."""
  plain = flops.flops(build.build(make_config(search__num_simulations=3)))
  again = flops.flops(build.build(make_config(search__num_simulations=3, targets__reanalyse=1.0)))
  np.testing.assert_allclose(again["learn"] - plain["learn"], 6 * plain["act"], rtol=0.05)


def test_searches_of_a_hierarchy_are_both_counted(make_config):
  """A simulation more of either costs the same whether it is the third or the fifth."""
  on = dict(loss__jump=1.0, targets__unroll=5, loss__jump_steps=5, search__goal_share=0.25)

  def count(single, jumps):
    searches = dict(search__num_simulations=single, search__jump_simulations=jumps)
    return flops.flops(build.build(make_config(**on, **searches)))["act"]

  base = count(2, 2)
  for more, most in (((3, 2), (5, 2)), ((2, 3), (2, 5))):
    np.testing.assert_allclose(count(*most) - base, 3 * (count(*more) - base), rtol=1e-3)
    assert count(*more) > base


def test_half_of_the_roots_are_searched_twice_as_often(make_config):
  """So that a search that focuses takes the same operations, but for those of the uncertainty."""
  on = dict(loss__uncertainty=0.25, search__num_simulations=4)
  plain, focused = (
    flops.flops(build.build(make_config(**on, search__focus=focus)))["act"]
    for focus in (False, True)
  )
  np.testing.assert_allclose(focused, plain, rtol=0.1)


def test_cost_of_a_matrix_product():
  shapes = jax.ShapeDtypeStruct((3, 5), np.float32), jax.ShapeDtypeStruct((5, 7), np.float32)
  assert flops.cost(lambda a, b: a @ b, *shapes) == 2 * 3 * 5 * 7
