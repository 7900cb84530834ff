"""The losses of the Q head by hand, and a gradient step against a textbook's."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from muzero_jax.learner import Learner
from muzero_jax.losses.q import q, q_search
from muzero_jax.replay.frames import Ring
from muzero_jax.targets import policy
from muzero_jax.targets.bootstrap import TargetNetwork
from muzero_jax.targets.maker import TargetMaker
from muzero_jax.targets.q import q_double
from muzero_jax.targets.returns import Returns
from muzero_jax.types import Context, QHead
from tests import builders
from tests.learner_common import FixedSampler, linear_model, sample

A, FEATURES = 3, 4
# The hidden state times a matrix; the loss is half the squared error. Without dynamics to speak of.
MODEL = linear_model()._replace(
  init=lambda key: {
    "e": jax.random.normal(key, (FEATURES, 5)),
    "w": jnp.float32(1),
    "q": jax.random.normal(key, (5, A)),
  },
  encode=lambda params, frames: jnp.tanh(frames[:, -1] @ params["e"]),
  predict=lambda params, hidden: (jnp.zeros((hidden.shape[0], A)), hidden[:, :1]),
  step=lambda params, hidden, action: (params["w"] * hidden, hidden[:, :1]),
  q=QHead(
    lambda params, hidden: (hidden @ params["q"])[..., None],
    lambda x: x[..., 0],
    lambda x, target: jnp.square(x[..., 0] - target) / 2,
  ),
)


def context(example, targets):
  """Latents of a single 1 and k = 1, so that Q is the matrix itself."""
  return builders.filled(
    Context, None, example=example, targets=targets, hidden=jnp.ones((1, 2, 1))
  )


def params(matrix):
  return {"model": {"q": jnp.array([matrix], jnp.float32)}}


def test_q_learns_the_returns_of_the_actions_taken():
  """Q = 0, 2, 5; at the root the second action returned 4, then the third 2: 2^2 / 2 + 3^2 / 2."""
  example = builders.example(1, unroll=1, num_actions=A, action=[1, 2])
  targets = builders.targets(1, 1, A, value=[4, 2])
  np.testing.assert_allclose(q(MODEL).loss(params([0, 2, 5]), context(example, targets)), [6.5])
  gradient = jax.grad(lambda p: q(MODEL).loss(p, context(example, targets)).sum())(
    params([0, 2, 5])
  )
  np.testing.assert_allclose(gradient["model"]["q"], [[0, -2, 3]])


@pytest.mark.parametrize("ends", [dict(last=[0, 1, 0]), dict(policy_mask=[[1, 0]])])
def test_what_is_done_at_an_end_is_not_learned(ends):
  """Of an episode's last step, and of what is behind the end, only the root's 2 is left."""
  mask = ends.pop("policy_mask", 1)
  example = builders.example(1, unroll=1, num_actions=A, action=[1, 2], **ends)
  targets = builders.targets(1, 1, A, value=[4, 2], policy_mask=mask)
  np.testing.assert_allclose(q(MODEL).loss(params([0, 2, 5]), context(example, targets)), [2])


def test_q_learns_what_the_search_found():
  """V = 4 and Q - V = -1 of the second action: a Q of 3, and 2 was predicted. Returns do not
  matter, nor does the next step.
  """
  example = builders.example(
    1, unroll=1, num_actions=A, action=[1, 2], value=[4, 9, 9], advantage=-1
  )
  targets = builders.targets(1, 1, A, value=[50, 60])
  found = q_search(MODEL).loss(params([0, 2, 5]), context(example, targets))
  np.testing.assert_allclose(found, [0.5])


def test_a_gradient_step_is_that_of_a_textbook(key):
  """DQN with double Q-learning, written out for its transitions: (s, a, r, s', goes on). Three go
  on, one is terminal, and one is cut off, which goes on.
  """
  size, gamma, rate = 5, 0.9, 0.1
  random = np.random.RandomState(0)
  frames = random.randn(size, 2, FEATURES).astype(np.float32)
  action, reward = random.randint(0, A, size), random.randn(size).astype(np.float32)
  goes_on = np.array([1, 1, 1, 0, 1], np.float32)
  example = builders.example(
    size,
    unroll=0,
    n_step=1,
    num_actions=A,
    frames=jnp.asarray(frames),
    action=action[:, None],
    reward=reward[:, None],
    discount=goes_on[:, None],
    last=np.stack([np.zeros(size), [0, 0, 0, 1, 1]], 1),
  )
  bootstrap = TargetNetwork(MODEL, 1, 0, 1, every_step=False, estimate=q_double)
  learner = Learner(
    MODEL,
    {"q": (1.0, q(MODEL))},
    lambda _: optax.sgd(rate),
    Ring(8, 1, A, (FEATURES,), np.float32, stack=1, unroll=0, window=2, later=1),
    FixedSampler(sample(example)),
    TargetMaker(bootstrap, policy.recorded, Returns(1, gamma, clip_rewards=False), unroll=0),
    batch_size=size,
    mean=lambda x: x,
  )
  state = learner.init(key)
  old = MODEL.init(jax.random.key(7))
  state = dataclasses.replace(state, target_params=old)
  after = jax.jit(learner.update)(state, learner.ring.init(), key)[0]

  def predict(params, frame):
    return np.tanh(frame @ params["e"]) @ params["q"]

  new = jax.device_get(state.params["model"])
  old = jax.device_get(old)
  rows = np.arange(size)
  best = predict(new, frames[:, 1]).argmax(-1)
  target = reward + gamma * goes_on * predict(old, frames[:, 1])[rows, best]
  # d/dQ of the mean of (Q(s, a) - target)^2 / 2, and from there back through Q = tanh(s e) q.
  hidden = np.tanh(frames[:, 0] @ new["e"])
  error = np.zeros((size, A))
  error[rows, action] = ((hidden @ new["q"])[rows, action] - target) / size
  expected = {
    "q": new["q"] - rate * hidden.T @ error,
    "e": new["e"] - rate * frames[:, 0].T @ (error @ new["q"].T * (1 - hidden**2)),
    "w": new["w"],
  }
  assert set(best) != {best[0]} and (best != predict(old, frames[:, 1]).argmax(-1)).any()
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), after.params["model"], expected
  )
