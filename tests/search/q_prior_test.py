"""The Q head as the prior of a search."""

import jax
import jax.numpy as jnp
import numpy as np

from muzero_jax.networks.q import QHead
from muzero_jax.search.gumbel import Gumbel
from muzero_jax.search.q_prior import QPrior, with_q_prior
from muzero_jax.types import Model, Root
from tests.search.common import KEY, run

Q = np.array([0.0, 0.01, 0.02])


def model(gain):
  """Action 2 leads to a reward of `gain`, others to none; values are 0; the policy network prefers
  action 0; Q is `Q` everywhere.
  """

  def step(params, hidden, action):
    return hidden, (gain * (action == 2))[:, None]

  def predict(params, hidden):
    return jnp.tile(jnp.array([5.0, 0.0, 0.0]), (hidden.shape[0], 1)), jnp.zeros((len(hidden), 1))

  head = QHead(
    lambda params, hidden: jnp.tile(jnp.array(Q), (hidden.shape[0], 1)), lambda q: q, None
  )
  return Model(None, None, predict, step, lambda x: x[..., 0], lambda x: x[..., None], q=head)


def search(gain):
  search_model = with_q_prior(model(gain), 0.01)
  return QPrior(Gumbel(search_model, 0.5, 6), search_model)


ROOT = Root(jnp.zeros((2, 1)), jnp.array([[5.0, 0.0, 0.0]] * 2), jnp.zeros(2))


def test_where_the_tree_knows_nothing_the_policy_is_that_of_q():
  """Q / 0.01 = 0, 1, 2: odds of 1 : e : e^2, and not those of the policy network."""
  decision = run(search(0.0), KEY, ROOT)
  np.testing.assert_allclose(
    decision.policy, jax.nn.softmax(Q / 0.01)[None].repeat(2, 0), rtol=1e-5
  )
  assert (run(search(0.0).for_evaluation(), KEY, ROOT).action == 2).all()


def test_the_tree_improves_on_it():
  """A loss of 1 by action 2, which Q does not know, lowers its odds."""
  policy = run(search(-1.0), KEY, ROOT).policy
  assert (policy[:, 2] < 0.9 * jax.nn.softmax(Q / 0.01)[2]).all()
