"""A goal found by jumps, on a corridor whose reward single actions do not see."""

import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.networks.jump import jump_model
from muzero_jax.search.gumbel import Gumbel
from muzero_jax.search.hierarchy import Hierarchy, jumping
from muzero_jax.types import JumpModel, Root
from tests.search.common import KEY, plain, run

DISCOUNT = 0.9
RIGHT = 1


def corridor(end):
  """Actions and macro actions go left (0) or right (1), by 1 and by 5. At position `end` there is
  a reward of 1; values are 0 everywhere. The policy that pursues a goal takes the action towards
  it with a probability of 0.9, that of the network is uniform.
  """

  def nothing(hidden):
    return jnp.zeros((hidden.shape[0], 2))

  def step(params, hidden, action):
    hidden = hidden + (2.0 * action[:, None] - 1)
    return hidden, (hidden == end).astype(jnp.float32)

  def jump(params, hidden, macro):
    hidden = hidden + macro @ jnp.array([[-5.0], [5.0]])
    return hidden, DISCOUNT**4 * (hidden == end)

  def reach(params, hidden, goal):
    return jnp.log(jnp.where(goal > hidden, jnp.array([[0.1, 0.9]]), jnp.array([[0.9, 0.1]])))

  model = plain(step, lambda params, hidden: (nothing(hidden), jnp.zeros((hidden.shape[0], 1))))
  jumps = JumpModel(5, 2, lambda *_: jnp.zeros((1, 2)), jump, lambda _, x: nothing(x), reach)
  return model._replace(jump=jumps)


ROOT = Root(jnp.zeros((8, 1)), jnp.zeros((8, 2)), jnp.zeros(8))


def hierarchy(end, share):
  model = corridor(end)
  planner = Gumbel(jumping(model), DISCOUNT**5, 8)
  return Hierarchy(Gumbel(model, DISCOUNT, 4), planner, model, share)


@pytest.mark.parametrize(("end", "right"), [(10, 0.7), (-10, 0.3)])
def test_a_goal_beyond_the_horizon_of_single_actions(end, right):
  """Four simulations reach at most four steps; ten are two jumps. Where nothing is seen, the
  improved policy is the prior: with the goal 0.5 * 0.5 + 0.5 * 0.9 = 0.7 towards the reward.
  """
  decision = run(hierarchy(end, 0.5).for_evaluation(), KEY, ROOT)
  np.testing.assert_allclose(decision.policy[:, RIGHT], right, atol=1e-4)
  np.testing.assert_array_equal(decision.action, RIGHT if end > 0 else 1 - RIGHT)
  blind = run(hierarchy(end, 0.0).for_evaluation(), KEY, ROOT)
  np.testing.assert_allclose(blind.policy[:, RIGHT], 0.5, atol=1e-4)


def test_what_single_actions_see_is_stronger_than_a_goal():
  """A reward one step to the left outweighs a prior of 0.7 for the right."""
  model, far = corridor(-1), corridor(10)
  planner = Gumbel(jumping(far), DISCOUNT**5, 8)
  search = Hierarchy(Gumbel(model, DISCOUNT, 4), planner, far, 0.5).for_evaluation()
  decision = run(search, KEY, ROOT)
  np.testing.assert_array_equal(decision.action, 1 - RIGHT)


def test_variants_are_those_of_both_searches():
  search = hierarchy(10, 0.5)
  assert search.simulations == 4
  for variant in (search.for_evaluation(), search.for_reanalysis()):
    assert isinstance(variant, Hierarchy) and variant.share == 0.5
  assert search.for_evaluation().planner == search.planner.for_evaluation()


def test_a_model_that_cannot_jump():
  with pytest.raises(ValueError, match="cannot jump"):
    jump_model(corridor(1)._replace(jump=None))
