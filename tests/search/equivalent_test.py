"""Classes of equivalent actions, against numbers worked by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.search.base import decided
from muzero_jax.search.equivalent import Classes, Equivalent, representatives
from muzero_jax.search.gumbel import Gumbel
from muzero_jax.search.puct import Puct
from muzero_jax.types import Root
from tests.search.common import DISCOUNT, KEY, assert_counts, equal_roots, plain, run


@pytest.mark.parametrize(
  ("places", "tolerance", "expected"),
  [
    ([0, 1, 0, 1, 2], 0.5, [0, 1, 0, 1, 4]),
    ([0, 1, 2, 3, 4], 1.0, [0, 0, 2, 2, 4]),  # a chain is cut
    ([1, 0, 2, 9, 8], 1.0, [0, 0, 0, 3, 3]),
    ([5, 5, 5, 5, 5], 0.1, [0, 0, 0, 0, 0]),
    ([0, 1, 2, 3, 4], 0.5, [0, 1, 2, 3, 4]),
  ],
)
def test_representatives(places, tolerance, expected):
  """Of actions on a line, at the given places."""
  distance = jnp.abs(jnp.subtract.outer(jnp.array(places), jnp.array(places)))
  np.testing.assert_array_equal(representatives(distance, tolerance), expected)


def test_every_prediction_counts():
  """Each action but 1 differs from action 0 in one prediction: the reward by 0.3, the value by 0.4
  (0.36 after the discount), the policy (1/2, 1/2) as (3/4, 1/4), so 1/4 of the probability is
  elsewhere, and one of the hidden state's 4 units by 0.2: sqrt(0.04 / 4) = 0.1.
  """
  rewards = jnp.array([0, 0, 0.3, 0, 0, 0])
  values = jnp.array([1, 1, 1, 1.4, 1, 1])
  logits = jnp.log(jnp.array([1, 1, 1, 1, 3, 1.0]))
  units = jnp.zeros((6, 4)).at[5, 2].set(0.2)
  # The hidden state that carries an action's number is that of the root plus something invisible:
  # here it is the shape that `predict` reads.
  seen = jnp.array([0, 0, 0, 1, 2, 0])

  def step(params, hidden, action):
    return hidden + units[action] + 1e-6 * seen[action][:, None], rewards[action][:, None]

  def predict(params, hidden):
    kind = jnp.round((hidden[:, 0] - 0.5) * 1e6).astype(jnp.int32)
    value = jnp.where(kind == 1, values[3], 1.0)
    first = jnp.where(kind == 2, logits[4], 0.0)
    return jnp.stack([first, jnp.zeros_like(first)], -1), value[:, None]

  classes = Classes(plain(step, predict), DISCOUNT, 0.0)
  root = Root(jnp.full((1, 4), 0.5), jnp.zeros((1, 6)), jnp.zeros(1))
  found = classes.distances({}, root)[0]
  np.testing.assert_allclose(found[0], [0, 0, 0.3, 0.36, 0.25, 0.1], atol=1e-5)
  np.testing.assert_allclose(found[3, 2], 0.36, atol=1e-5)
  np.testing.assert_array_equal(
    dataclasses.replace(classes, tolerance=0.27).find({}, root), [[0, 0, 2, 3, 0, 0]]
  )


def corridor(effects):
  """Action a moves by effects[a]; the value is the place, and the policy is sure of action 0."""

  def step(params, hidden, action):
    return hidden + jnp.array(effects)[action][:, None], jnp.zeros((action.shape[0], 1))

  def predict(params, hidden):
    logits = jnp.zeros((hidden.shape[0], len(effects))).at[:, 0].set(20.0)
    return logits, 0.1 * hidden[:, :1]

  return plain(step, predict)


@dataclasses.dataclass(frozen=True)
class Told:
  """A search whose policy is the prior of what is legal, and whose action is given."""

  action: int

  def __call__(self, params, key, root):
    size = root.value.shape[0]
    policy = jnp.where(root.illegal > 0, 0.0, jax.nn.softmax(root.policy_logits))
    zeros = jnp.zeros(size)
    action = jnp.full(size, self.action)
    return decided(action, policy, zeros, jnp.zeros(policy.shape), policy, zeros)

  def for_evaluation(self):
    return self


def test_mass_is_shared_back():
  """Effects are 0, 0, 1, 1 and the prior 1/2, 1/4, 1/16, 3/16: classes have 3/4 and 1/4. A search
  that returns this returns the prior after all. Action 2 stands for 2 and 3, with 1/4 and 3/4 of
  its probability; in evaluation for the likelier one.
  """
  prior = np.array([1 / 2, 1 / 4, 1 / 16, 3 / 16])
  search = Equivalent(Told(2), Classes(corridor([0.0, 0, 1, 1]), DISCOUNT, 0.01))
  root = equal_roots(4000, np.log(prior))
  decision = run(search, KEY, root)
  np.testing.assert_allclose(decision.policy, np.tile(prior, (4000, 1)), rtol=1e-5)
  assert_counts(decision.action, [0, 0, 1 / 4, 3 / 4])
  np.testing.assert_allclose(decision.log_prob, np.log(prior)[decision.action], rtol=1e-5)
  greedy = run(search.for_evaluation(), KEY, root)
  np.testing.assert_array_equal(greedy.action, 3)
  counted = search.classes({}, root, None, None)["search/classes"]
  np.testing.assert_array_equal(counted, [8000, 4000])


PONG = [0.0, 0.0, 1.0, -1.0, 1.0, -1.0]  # stay, up, down, each twice


def test_simulations_go_deeper():
  """8 simulations over 6 actions are 6 and 2: two steps, where the first is followed by what the
  policy is sure of. Over 3 classes they are 3, 2, 2 and 1: four steps. Twins end up alike, and what
  was not searched has its share.
  """
  model = corridor(PONG)
  search = Gumbel(model, DISCOUNT, 8)
  root = equal_roots(20, np.zeros(6))
  assert (run(search, KEY, root).depth == 2).all()
  decision = run(Equivalent(search, Classes(model, DISCOUNT, 0.01)), KEY, root)
  assert (decision.depth == 4).all()
  policy = decision.policy
  np.testing.assert_allclose(policy[:, [0, 2, 3]], policy[:, [1, 4, 5]], rtol=1e-5)
  np.testing.assert_allclose(policy.sum(-1), 1, rtol=1e-5)
  assert (policy[:, 2] > policy[:, 0]).all() and (policy[:, 0] > policy[:, 3]).all()
  assert {2, 4} <= set(decision.action.tolist())


def test_what_is_illegal_stays_so_where_the_prior_does_not_count():
  """With an exponent of 0 the policy is that of Q alone; its sum is 1 only without illegal ones."""
  model = corridor(PONG)
  search = Gumbel(model, DISCOUNT, 8, prior_exponent=0.0)
  root = equal_roots(4, np.zeros(6))
  policy = run(Equivalent(search, Classes(model, DISCOUNT, 0.01)), KEY, root).policy
  np.testing.assert_allclose(policy.sum(-1), 1, rtol=1e-5)
  np.testing.assert_allclose(policy[:, [0, 2, 3]], policy[:, [1, 4, 5]], rtol=1e-5)


def test_pucts_noise_stays_within_the_legal():
  """Visits, in twelfths, are those of three actions, and the noise is theirs alone."""
  model = corridor(PONG)
  search = Equivalent(
    Puct(model, DISCOUNT, 12, dirichlet_fraction=1.0, improvement="act"),
    Classes(model, DISCOUNT, 0.01),
  )
  decision = run(search, KEY, equal_roots(200, np.zeros(6)))
  np.testing.assert_allclose(decision.policy[:, [0, 2, 3]], decision.policy[:, [1, 4, 5]])
  visits = 24 * decision.policy[:, [0, 2, 3]]
  np.testing.assert_allclose(visits, np.round(visits), atol=1e-4)
  np.testing.assert_allclose(visits.sum(-1), 12, rtol=1e-5)
  assert set(decision.action.tolist()) == set(range(6))
