"""What tests of searches share: models without an encoder, compiled searches, trees made by
hand."""

import functools

import jax
import jax.numpy as jnp
import mctx
import numpy as np

from muzero_jax.search.gumbel import Gumbel
from muzero_jax.search.none import NoSearch
from muzero_jax.search.puct import Puct
from muzero_jax.search.random import Random
from muzero_jax.search.trees import SearchTree
from muzero_jax.types import Model, Root, Statistics

D = 3
NAMES = ("left", "stay", "right")


def plain(step, predict):
  """A model without an encoder whose logits of scalars are the scalars themselves, f32[N, 1]."""
  return Model(None, None, predict, step, lambda logits: logits[..., 0], None)


def equal_roots(size, logits, value=0.0):
  logits = jnp.asarray(logits, jnp.float32)
  return Root(jnp.zeros((size, D)), jnp.tile(logits, (size, 1)), jnp.full(size, value, jnp.float32))


# One program for all tests with the same search and sizes.
PROGRAM = jax.jit(lambda search, params, key, root: search(params, key, root), static_argnums=0)


def run(search, key, root, params=None):
  """The decisions; `params` are a dictionary, or a list of numbers that becomes one array."""
  params = {} if params is None else params
  return jax.device_get(
    PROGRAM(
      search, params if isinstance(params, dict) else jnp.asarray(params, jnp.float32), key, root
    )
  )


def compiled(fn):
  """The result of `fn` (mctx, called by hand)."""
  return jax.device_get(jax.jit(fn)())


def assert_counts(action, shares):
  """How often each action was taken is within 5 sigma of a binomial with the given share."""
  shares = np.asarray(shares, np.float64)
  counts = np.bincount(action, minlength=shares.size)
  np.testing.assert_array_equal(counts[shares == 0], 0)
  sigma = np.sqrt(action.size * shares * (1 - shares))
  np.testing.assert_array_less(
    np.abs(counts - action.size * shares), 5 * sigma + 1e-3, err_msg=str(counts)
  )


def tree_of(visits, rewards, values, discount, raw=None, prior=None, extra_data=None):
  """An unbatched tree of mctx with the given edges, [nodes, actions]; all that a transform of Q
  looks at.

  Args:
    visits: of every edge.
    rewards: of every edge.
    values: of the nodes that the edges lead to.
    discount: of every edge.
    raw: the nodes' own values, [nodes]; zeros unless given.
    prior: probabilities, [nodes, actions]; all alike unless given.
    extra_data: as a search keeps it.
  """
  visits, rewards, values = (np.asarray(x, np.float32) for x in (visits, rewards, values))
  nodes, actions = visits.shape
  zeros = jnp.zeros(nodes)
  return mctx.Tree(
    node_visits=jnp.ones(nodes, jnp.int32),
    raw_values=zeros if raw is None else jnp.asarray(raw, jnp.float32),
    node_values=zeros,
    parents=jnp.zeros(nodes, jnp.int32),
    action_from_parent=jnp.zeros(nodes, jnp.int32),
    children_index=jnp.full((nodes, actions), -1, jnp.int32),
    children_prior_logits=jnp.zeros((nodes, actions))
    if prior is None
    else jnp.log(jnp.asarray(prior, jnp.float32)),
    children_visits=jnp.asarray(visits, jnp.int32),
    children_rewards=jnp.asarray(rewards),
    children_discounts=jnp.full((nodes, actions), discount),
    children_values=jnp.asarray(values),
    embeddings=jnp.zeros((nodes, 1)),
    root_invalid_actions=jnp.zeros(actions),
    extra_data=extra_data,
  )


def by_numpy(visits, q, prior, own):
  """Completed Q of one node, in plain Python: where an action was not visited, what is known of the
  rest stands in.

  Args:
    visits: of every action.
    q: of every action.
    prior: probabilities.
    own: the node's own value.
  """
  visited = [a for a in range(len(visits)) if visits[a]]
  share = sum(prior[a] for a in visited)
  weighted = sum(prior[a] * q[a] for a in visited) / share if visited else 0.0
  mixed = (own + sum(visits) * weighted) / (1 + sum(visits))
  return [q[a] if visits[a] else mixed for a in range(len(visits))]


def statistics(error=1.0, skill=0.0):
  """With this error and this skill, from two batches' worth of sums."""
  numbers = (2.0, 2 * error**2, 2.0, 2 * skill)
  return Statistics(*(jnp.float32(number) for number in numbers))


KEY = jax.random.key(0)
A = 4
DISCOUNT = 0.9


def arbitrary_model():
  """Tells states and actions apart; the same for every batch element."""
  random = np.random.RandomState(0)
  mix, embed, policy, value, reward = (
    jnp.asarray(random.randn(*shape), jnp.float32)
    for shape in ((D, D), (A, D), (D, A), (D, 1), (D, 1))
  )

  def dot(x, w):
    return jnp.sum(x[:, :, None] * w[None], 1)  # the same rounding for any batch size

  def step(params, hidden, action):
    hidden = jnp.tanh(dot(hidden, mix) + embed[action])
    return hidden, dot(hidden, reward)

  return plain(step, lambda params, hidden: (dot(hidden, policy), dot(hidden, value)))


MODEL = arbitrary_model()


def arbitrary_root():
  """20 different roots, twice: a root and its twin differ in their noise only."""
  random = np.random.RandomState(1)
  one = Root(
    *(jnp.asarray(random.randn(*shape), jnp.float32) for shape in ((20, D), (20, A), (20,)))
  )
  return jax.tree.map(lambda x: jnp.concatenate([x, x]), one)


ROOT = arbitrary_root()
SIZE = 40


@functools.cache
def constant_model(value, num_actions=A):
  """No rewards, and the same value everywhere."""

  def predict(params, hidden):
    return jnp.zeros((hidden.shape[0], num_actions)), jnp.full(
      (hidden.shape[0], 1), value, jnp.float32
    )

  return plain(lambda params, hidden, action: (hidden, jnp.zeros((hidden.shape[0], 1))), predict)


def bandit_model():
  """The first action is rewarded as the parameters f32[3] say, nothing after it."""

  def step(params, hidden, action):
    return hidden + 1, jnp.where(hidden[:, :1] == 0, params[action][:, None], 0.0)

  return plain(
    step, lambda params, hidden: (jnp.zeros((hidden.shape[0], 3)), jnp.zeros((hidden.shape[0], 1)))
  )


BANDIT = bandit_model()

SEARCHES = {
  "gumbel": Gumbel(MODEL, DISCOUNT, 8),
  "puct": Puct(MODEL, DISCOUNT, 8),
  "none": NoSearch(MODEL, DISCOUNT),
  "random": Random(),
}


def many(search, root):
  """Decisions for 4 keys, [4, B, ...]."""
  decisions = [run(search, jax.random.key(i), root) for i in range(4)]
  return jax.tree.map(lambda *x: np.stack(x), *decisions)


def rewarded_bandit(num_actions):
  """The first action is rewarded as `params["rewards"]` says, nothing after it; all actions
  alike."""

  def step(params, hidden, action):
    return hidden + 1, jnp.where(hidden[:, :1] == 0, params["rewards"][action][:, None], 0.0)

  def predict(params, hidden):
    return jnp.zeros((hidden.shape[0], num_actions)), jnp.zeros((hidden.shape[0], 1))

  return plain(step, predict)


def paying(*rewards, error=1.0, skill=0.0):
  return {"rewards": jnp.array(rewards, jnp.float32), "statistics": statistics(error, skill)}


def tree_by_hand(**changes) -> SearchTree:
  """Root (v 1) -right-> 1 (r 2, v 4) -left-> 2 (r -1, v 8); root -left-> 3 (r 0, v 2); γ 1/2.

  Simulation 1 backs 4 up: Q 2 + 4/2 = 4. Simulation 2 backs 8 up: node 1 gets -1 + 8/2 = 3, the
  root 2 + 3/2 = 3.5. Simulation 3: the root gets 0 + 2/2 = 1.
  """
  fields = {
    "parent": [-1, 0, 1, 0],
    "action": [0, 2, 0, 0],
    "prior": [1.0, 0.5, 0.25, 0.125],
    "reward": [0.0, 2.0, -1.0, 0.0],
    "visits": [4, 2, 1, 1],
    "value": [(1 + 4 + 3.5 + 1) / 4, 3.5, 8.0, 2.0],
    "predicted": [1.0, 4.0, 8.0, 2.0],
    "root_prior": [0.125, 0.375, 0.5],
    "policy": [0.25, 0.25, 0.5],
    "chosen": 2,
    "discount": 0.5,
    "names": list(NAMES),
  }
  return SearchTree.from_dict(fields | changes)
