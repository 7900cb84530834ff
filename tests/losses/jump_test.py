"""The loss of jumps: by hand, and what is learned from a corridor."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from muzero_jax.losses.jump import discounted, imbalance, jump
from muzero_jax.networks import mlp
from muzero_jax.networks import model as networks
from muzero_jax.networks.jump import chosen, with_jumps
from muzero_jax.networks.scalars import Support
from muzero_jax.types import Context, JumpModel, Model
from tests import builders


def by_hand():
  """Jumps of two steps; macro action 0 adds 6 to the hidden state, and 1 adds 2. The first example
  has macro action 1, the second 0. Two bins, for 0 and 1, and two actions.
  """

  def zeros(hidden):
    return jnp.zeros((hidden.shape[0], 2))

  def step(params, hidden, macro):
    return hidden + macro @ jnp.array([[6.0], [2.0]]), jnp.tile(jnp.array([0.0, 3.0]), (2, 1))

  jumps = JumpModel(
    2,
    2,
    lambda params, actions: jnp.array([[0.0, 9.0], [9.0, 0.0]]),
    step,
    lambda params, hidden: zeros(hidden),
    lambda params, hidden, goal: zeros(hidden),
  )
  return Model(
    None,  # type: ignore
    None,  # type: ignore
    lambda params, hidden: (zeros(hidden), zeros(hidden)),
    None,  # type: ignore
    None,  # type: ignore
    lambda x: jnp.stack([1 - x, x], -1),
    jump=jumps,
  )


def found(last=False, target_mask=1):
  """The hidden states begin at 0 and 1, and the unroll takes them to 3 and 7."""
  context = builders.filled(
    Context,
    None,
    example=builders.example(2, unroll=2, last=last),
    targets=builders.targets(2, 2, reward=[0, 1], value=0, target_mask=target_mask),
    hidden=jnp.array([[0.0, 99, 3], [1, 99, 7]])[..., None],
  )
  return jax.jit(jump(by_hand(), 0.5).loss)({"model": {}}, context)


def test_loss_by_hand():
  """Reached: 0 + 2 = 2, 1 below 3, and 1 + 6 = 7, as it should be. The variance of 3 and 7 is 4.
  Value, prior and pursuit are uniform over two: ln 2 each. The rewards 0 and 1 are 0.5, of which
  logits of 0 and 3 cost (ln(1 + e^3) + ln(1 + e^-3)) / 2. Both macro actions are used equally.
  """
  rewards = (np.log1p(np.exp(3)) + np.log1p(np.exp(-3))) / 2
  expected = 3 * np.log(2) + rewards + np.array([1 / 4, 0])
  np.testing.assert_allclose(found(), expected, rtol=1e-5)


def test_jumps_without_a_beginning_or_a_target_do_not_count():
  """The first example's root is the last step of an episode; the second's return is truncated."""
  last = [[True, False, False, False], [False] * 4]
  assert found(last=last)[0] == 0 and found(last=last)[1] > 0
  mask = [[1, 1, 1], [1, 1, 0]]
  assert found(target_mask=mask)[0] > 0 and found(target_mask=mask)[1] == 0


def test_discounted_rewards_and_imbalance():
  np.testing.assert_allclose(discounted(jnp.array([[1.0, 2, 4]]), 0.5), [1 + 1 + 1])
  np.testing.assert_allclose(imbalance(jnp.array([[20.0, 0], [20, 0]])), np.log(2), atol=1e-4)
  np.testing.assert_allclose(imbalance(jnp.array([[20.0, 0], [0, 20]])), 0, atol=1e-4)


def test_a_choice_has_the_gradient_of_the_softmax():
  logits = jnp.array([[1.0, 3.0, 2.0]])
  np.testing.assert_allclose(chosen(logits), [[0, 1, 0]], atol=1e-6)
  slope = jax.jacobian(lambda x: chosen(x)[0])(logits)
  np.testing.assert_allclose(slope, jax.jacobian(lambda x: jax.nn.softmax(x)[0])(logits))


@pytest.fixture(scope="module")
def model():
  frames = jax.ShapeDtypeStruct((1, 4), jnp.float32)
  made = networks.make_model(mlp.mlp, "grid", 2, Support(2, 5), frames)
  return made, with_jumps(made, 2, frames, steps=5, macros=4, width=64)


def test_other_parameters_are_initialized_as_without_jumps(model):
  without, jumping = (made.init(jax.random.key(0)) for made in model)
  assert set(jumping) - set(without) == {"jump"}
  jax.tree.map(np.testing.assert_array_equal, without, {name: jumping[name] for name in without})


def test_what_is_learned(model):
  """On a ring of 12 places, actions go left or right, five times the same. After 1,200 gradient
  steps jumps arrive where the actions did, left and right are different macro actions, and the
  policy that pursues a goal goes towards it.
  """
  jumping = model[1]
  jumps, term = jumping.jump, jump(jumping, 0.9)
  place, action = np.arange(24) % 12, np.arange(24) // 12
  places = (place[:, None] + np.arange(6) * (2 * action[:, None] - 1)) % 12
  hidden = jnp.asarray(np.eye(64, dtype=np.float32)[places])
  context = builders.filled(
    Context,
    None,
    example=builders.example(24, unroll=5, action=np.repeat(action[:, None], 6, 1)),
    targets=builders.targets(24, 5, target_mask=1),
    hidden=hidden,
  )
  optimizer = optax.adam(3e-3)
  params = jumping.init(jax.random.key(1))

  def total(params):
    return term.loss({"model": params}, context).mean()

  def step(carry, _):
    params, state = carry
    loss, gradient = jax.value_and_grad(total)(params)
    updates, state = optimizer.update(gradient, state)
    return (optax.apply_updates(params, updates), state), loss

  begin = (params, optimizer.init(params))
  (params, _), _ = jax.jit(lambda begin: jax.lax.scan(step, begin, length=1200))(begin)
  codes = jnp.argmax(jumps.code(params, context.example.action[:, :5]), -1)
  assert set(np.asarray(codes[:12])).isdisjoint(np.asarray(codes[12:]))
  arrived, _ = jumps.step(params, hidden[:, 0], jax.nn.one_hot(codes, 4))
  np.testing.assert_array_equal(jnp.argmax(arrived, -1), places[:, 5])
  towards = jumps.reach(params, hidden[:, 0], arrived)
  np.testing.assert_array_equal(jnp.argmax(towards, -1), action)
