"""Two values in planning, on an MDP where each horizon alone is misled."""

import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.networks.scalars import Support
from muzero_jax.search.gumbel import Gumbel
from muzero_jax.search.horizons import TwoHorizons, mixed
from muzero_jax.search.none import NoSearch
from muzero_jax.types import Model, Root
from tests.search.common import KEY, run

LONG, SHORT = 0.99, 0.8
# Three actions lead to corridors without choices. Rewards in steps after the first: the first
# corridor has 0.5 soon, the second 1 late, the third both.
CORRIDORS = [{2: 0.5}, {19: 1.0}, {2: 0.5, 19: 1.0}]


def values(discount, errors):
  true = [sum(discount**t * r for t, r in corridor.items()) for corridor in CORRIDORS]
  return np.array(true) + errors


# A value of a long horizon has the larger error, here in favor of the late reward.
FAR = values(LONG, [0, 0.6, 0])
NEAR = values(SHORT, [0.02, 0, 0])


def model(exact=True):
  """The hidden state is 0 at the root, whose values are both 0, and i + 1 in corridor i. Scalars
  are their own logits, or else categorical."""
  support = Support(5, 1001)
  decode = (lambda logits: logits[..., 0]) if exact else support.decode
  encode = (lambda x: jnp.exp(x)[..., None]) if exact else support.encode
  raw = (lambda x: x[:, None]) if exact else lambda x: jnp.log(support.encode(x))

  def of(table):
    padded = jnp.array([0.0, *table])
    return lambda hidden: raw(padded[hidden[:, 0].astype(jnp.int32)])

  def step(params, hidden, action):
    # Further steps stay where they are, without a reward.
    return jnp.where(hidden == 0, action[:, None] + 1.0, hidden), raw(jnp.zeros(action.shape))

  def predict(params, hidden):
    return jnp.zeros((hidden.shape[0], 3)), of(FAR)(hidden)

  return Model(
    None, None, predict, step, decode, encode, second=lambda params, hidden: of(NEAR)(hidden)
  )


ROOT = Root(jnp.zeros((8, 1)), jnp.zeros((8, 3)), jnp.full(8, 7.0))


@pytest.mark.parametrize(("share", "chosen"), [(0.0, 1), (1.0, 0), (0.5, 2)])
def test_one_horizon_alone_fails(share, chosen):
  """The third corridor has all that the others have. The long horizon, 0.49, 1.43 and 1.32, takes
  the second, because of its error; the short one, 0.34, 0.01 and 0.33, takes the first, because it
  hardly sees the late reward. Their mean is 0.42, 0.72 and 0.82.
  """
  np.testing.assert_allclose(FAR, [0.490, 1.426, 1.316], atol=1e-3)
  np.testing.assert_allclose(NEAR, [0.340, 0.014, 0.334], atol=1e-3)
  both = mixed(model(), share)
  search = TwoHorizons(NoSearch(both, LONG), both).for_evaluation()
  np.testing.assert_array_equal(run(search, KEY, ROOT).action, chosen)


def test_a_tree_with_both_values():
  """As above, by Gumbel's tree, with categorical values. What is recorded: the long horizon's 7 at
  the root, and what the policy gains over the mixture there, which is 0."""
  both = mixed(model(exact=False), 0.5)
  search = TwoHorizons(Gumbel(both, LONG, 6, max_depth=1), both).for_evaluation()
  decision = run(search, KEY, ROOT)
  np.testing.assert_array_equal(decision.action, 2)
  gain = decision.policy @ (LONG * (FAR + NEAR) / 2)
  np.testing.assert_allclose(decision.value, 7 + gain, rtol=1e-4)


def test_the_mixture():
  """A quarter of W = -1 and three quarters of V = 2 are 1.25, through logits."""
  support = Support(5, 1001)

  def constant(x):
    return lambda params, hidden: jnp.log(support.encode(jnp.full(hidden.shape[0], x)))

  two = Model(
    None,
    None,
    lambda params, hidden: (jnp.zeros((hidden.shape[0], 3)), constant(2.0)(params, hidden)),
    None,  # pyright: ignore[reportArgumentType]
    support.decode,
    support.encode,
    second=constant(-1.0),
  )
  _, logits = mixed(two, 0.25).predict({}, jnp.zeros((3, 1)))
  np.testing.assert_allclose(two.decode(logits), 1.25, rtol=1e-4)
