"""What must hold of the functions that the networks compute."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.networks.cpu import cached
from muzero_jax.networks.mlp import mlp
from muzero_jax.networks.model import initial_inference, make_model
from muzero_jax.networks.resnet import resnet
from muzero_jax.networks.vector import vector
from tests.networks.common import (
  ACTIONS,
  STACK,
  SUPPORT,
)

# What really runs: name -> network, size, shape of a frame.
RUN = {
  "resnet-tiny": (resnet, "tiny", (84, 84)),
  "resnet-grid": (resnet, "grid", (10, 10, 2)),
  "vector": (vector, "nano", (18, 20)),  # 18 is not whole patches
  "mlp": (mlp, "tiny", (10, 5)),
  "mlp-vector": (mlp, "tiny", (6,)),
}


def made(name, dtype):
  """The model."""
  network, size, shape = RUN[name]
  kind = jnp.float32 if len(shape) == 1 else jnp.uint8
  return make_model(
    network, size, ACTIONS, SUPPORT, jax.ShapeDtypeStruct((STACK, *shape), kind), dtype
  )


@functools.cache
def build(name, dtype=jnp.float32):
  """The model, its parameters and its functions compiled once."""
  model = made(name, dtype)
  params = jax.jit(model.init)(jax.random.key(0))
  return model, params, tuple(jax.jit(f) for f in (model.encode, model.step, model.predict))


def disturbed(params):
  """The parameters with every array moved, so that no head is zero and no bias is."""
  leaves, tree = jax.tree.flatten(params)
  random = np.random.default_rng(0)
  return jax.tree.unflatten(
    tree, [x + 0.1 * random.normal(size=x.shape).astype(np.float32) for x in leaves]
  )


def frames(name, size=3):
  shape = RUN[name][2]
  random = np.random.default_rng(1)
  if len(shape) == 1:
    return jnp.asarray(random.normal(size=(size, STACK, *shape)), jnp.float32)
  return jnp.asarray(random.integers(0, 256, (size, STACK, *shape)), jnp.uint8)


@pytest.mark.parametrize("name", list(RUN))
def test_zero_initialised_heads_claim_nothing(name):
  """At the start the policy is uniform and values and rewards are 0."""
  model, params, (encode, step, predict) = build(name)
  hidden = encode(params, frames(name))
  hidden, reward = step(params, hidden, jnp.arange(3))
  policy, value = predict(params, hidden)
  np.testing.assert_array_equal(jax.nn.softmax(policy), np.full((3, ACTIONS), np.float32(1) / 3))
  np.testing.assert_array_equal(policy, np.zeros((3, ACTIONS)))
  np.testing.assert_allclose(model.decode(value), np.zeros(3), atol=1e-6)
  np.testing.assert_allclose(model.decode(reward), np.zeros(3), atol=1e-6)


@pytest.mark.parametrize("name", ["resnet-tiny", "resnet-grid"])
def test_the_residual_dynamics_starts_as_its_shortcut(name):
  """At the start nothing changes but what the action adds to every place of the picture, scaled
  again to 0..1."""
  _, params, (encode, step, _) = build(name)
  hidden = np.asarray(encode(params, frames(name)))
  added = np.asarray(params["dynamics"]["params"]["Embed_0"]["embedding"])  # [actions, channels]
  for action in range(ACTIONS):
    later, _ = step(params, hidden, jnp.full(3, action))
    moved = hidden + added[action]
    low, high = moved.min((1, 2, 3), keepdims=True), moved.max((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(later, (moved - low) / (high - low), atol=1e-5)
    assert np.abs(added[action]).max() > 1e-3


@pytest.mark.parametrize("name", ["vector", "mlp", "mlp-vector"])
def test_the_fully_connected_dynamics_starts_as_its_shortcut(name):
  """At the start no action changes anything, but the gradient is not zero with it: it will."""
  model, params, (encode, step, _) = build(name)
  hidden = encode(params, frames(name))
  for action in range(ACTIONS):
    np.testing.assert_allclose(step(params, hidden, jnp.full(3, action))[0], hidden, atol=1e-6)

  def loss(dynamics):
    later, _ = model.step({**params, "dynamics": dynamics}, hidden, jnp.arange(3))
    return jnp.sum(later * jnp.linspace(-1, 1, later.size).reshape(later.shape))

  gradient = jax.jit(jax.grad(loss))(params["dynamics"])
  assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(gradient)) > 1e-3


def test_root_decodes_the_value():
  """Search runs on plain scalars: a root's value is decoded."""
  model, params, (encode, _, predict) = build("mlp")
  params = disturbed(params)
  found = jax.jit(lambda p, x: initial_inference(model, p, x))(params, frames("mlp"))
  hidden = encode(params, frames("mlp"))
  policy, value = predict(params, hidden)
  np.testing.assert_allclose(found.hidden, hidden, atol=1e-6)
  np.testing.assert_allclose(found.policy_logits, policy, atol=1e-5)
  shares = np.asarray(jax.nn.softmax(value)) @ np.arange(-5, 6)
  h = np.sign(found.value) * (np.sqrt(np.abs(found.value) + 1) - 1) + 0.001 * np.asarray(
    found.value
  )
  np.testing.assert_allclose(h, shares, rtol=1e-4, atol=1e-5)


def test_roots_in_parts(monkeypatch):
  """Many stacks are encoded a few at a time on a CPU: 6 in 3 parts are what they are together."""
  model, params, _ = build("resnet-grid")
  params, stacks = disturbed(params), frames("resnet-grid", 6)
  whole = initial_inference(model, params, stacks)
  monkeypatch.setattr(cached, "SHARED", 0)
  monkeypatch.setattr(cached, "CACHED", 2 * stacks[0].size)
  assert cached.chunks(stacks) == 3
  chex.assert_trees_all_close(initial_inference(model, params, stacks), whole, atol=1e-4)


@pytest.mark.parametrize("name", ["resnet-grid", "mlp"])
def test_zero_heads_learn(name):
  """Zero initialisation is of the last layers only: their gradient is not zero."""
  model, params, _ = build(name)
  hidden = build(name)[2][0](params, frames(name))

  def loss(part):
    policy, value = model.predict({**params, "prediction": part}, hidden)
    return jax.nn.log_softmax(policy)[:, 0].sum() + jax.nn.log_softmax(value)[:, 0].sum()

  gradient = jax.tree.leaves(jax.jit(jax.grad(loss))(params["prediction"]))
  assert sum(bool(jnp.any(x != 0)) for x in gradient) >= 4  # kernel and bias of both heads


@pytest.mark.parametrize("name", list(RUN))
def test_a_batch_is_what_its_elements_are_alone(name):
  """Norm layers hold no batch statistics: acting (any batch) and learning (another) compute the
  same function.
  """
  _, params, (encode, step, predict) = build(name)
  params, seen, actions = disturbed(params), frames(name), jnp.array([0, 2, 1])
  hidden = encode(params, seen)
  later, reward = step(params, hidden, actions)
  together = (hidden, later, reward, *predict(params, later))
  assert np.ptp(together[-1], 0).max() > 1e-3  # the elements differ
  for i in range(3):
    one = slice(i, i + 1)
    hidden = encode(params, seen[one])
    later, reward = step(params, hidden, actions[one])
    for alone, found in zip(
      (hidden, later, reward, *predict(params, later)), together, strict=True
    ):
      np.testing.assert_allclose(alone, found[one], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", list(RUN))
def test_hidden_states_are_scaled_to_unit_range(name):
  _, params, (encode, step, _) = build(name)
  hidden = encode(disturbed(params), frames(name))
  for hidden_state in (hidden, step(disturbed(params), hidden, jnp.arange(3))[0]):
    flat = np.asarray(hidden_state).reshape(3, -1)
    np.testing.assert_allclose(flat.min(1), 0, atol=1e-6)
    np.testing.assert_allclose(flat.max(1), 1, atol=1e-6)


@pytest.mark.parametrize("name", list(RUN))
def test_actions_and_every_frame_of_the_stack_matter(name):
  _, params, (encode, step, _) = build(name)
  params, seen = disturbed(params), frames(name, 1)
  hidden = encode(params, seen)
  later = [np.asarray(step(params, hidden, jnp.array([a]))[0]) for a in range(ACTIONS)]
  for a in range(ACTIONS):
    assert np.abs(later[a] - later[a - 1]).max() > 1e-4
  for i in range(STACK):
    other = encode(params, seen.at[:, i].set(0))
    assert np.abs(np.asarray(other - hidden)).max() > 1e-4


@pytest.mark.parametrize("name", ["resnet-grid", "mlp"])
def test_black_frames_and_constant_hidden_states_give_no_nan(name):
  """A constant hidden state gives no NaN: through the whole network, forwards and backwards."""
  model, params, _ = build(name)
  black = jnp.zeros_like(frames(name, 2))

  def loss(params):
    hidden = model.encode(params, black)
    hidden_states = jnp.concatenate([hidden, jnp.full_like(hidden, 0.5)])
    later, reward = model.step(params, hidden_states, jnp.array([0, 1, 0, 1]))
    logits = (reward, *model.predict(params, jnp.concatenate([hidden_states, later])))
    return sum(jax.nn.log_softmax(x)[:, 0].sum() for x in logits)

  value, gradient = jax.jit(jax.value_and_grad(loss))(params)
  assert np.isfinite(value)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))


def equations(jaxpr):
  """All equations, those of inner programs included."""
  for equation in jaxpr.eqns:
    yield equation
    for value in jax.tree.leaves(tuple(equation.params.values()), is_leaf=is_program):
      if is_program(value):
        yield from equations(getattr(value, "jaxpr", value))


def is_program(value):
  """Whether a parameter of an equation is a program itself; JAX has moved its own test for it."""
  return hasattr(value, "eqns") or hasattr(value, "jaxpr")


def test_uint8_frames_enter_the_network():
  """uint8 frames stay uint8 until inside the network: the encoder takes them as they are stored."""
  model, params, _ = build("resnet-grid")
  seen = frames("resnet-grid")
  closed = jax.make_jaxpr(model.encode)(params, seen)
  assert closed.in_avals[-1].dtype == jnp.uint8
  encode = build("resnet-grid")[2][0]
  np.testing.assert_allclose(
    encode(params, seen), encode(params, seen.astype(jnp.float32) / 255), rtol=1e-4, atol=1e-4
  )


@pytest.mark.parametrize("name", ["resnet-grid", "mlp"])
def test_heads_are_float32_under_a_bfloat16_trunk(name):
  """Softmax over the support in float32, whatever the trunk's precision: so are the layers that
  make its logits.
  """
  model = made(name, jnp.bfloat16)
  params = build(name)[1]
  hidden = jax.eval_shape(model.encode, params, frames(name))
  assert hidden.dtype == jnp.bfloat16
  jaxpr = jax.make_jaxpr(model.predict)(params, hidden).jaxpr
  products = [e for e in equations(jaxpr) if e.primitive.name == "dot_general"]
  assert len(products) == 4  # two layers of two heads
  assert {v.aval.dtype for e in products for v in e.invars} == {jnp.dtype(jnp.float32)}
  assert {x.dtype for x in jax.eval_shape(model.predict, params, hidden)} == {
    jnp.dtype(jnp.float32)
  }


@pytest.mark.parametrize("name", ["resnet-grid", "mlp"])
def test_bfloat16_trunk_computes_about_the_same(name):
  model = made(name, jnp.bfloat16)
  _, params, (encode, _, _) = build(name)
  narrow = jax.jit(model.encode)(params, frames(name)).astype(jnp.float32)
  assert np.mean(np.abs(narrow - encode(params, frames(name)))) < 0.02


def test_two_keys_give_two_networks():
  model, params, _ = build("mlp")
  other, again = (jax.jit(model.init)(jax.random.key(seed)) for seed in (1, 0))
  assert any(
    bool(jnp.any(a != b))
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(other), strict=True)
  )
  for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(again), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet-grid", "vector", "mlp"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_parameters_cast_beforehand_give_the_same_numbers(name, dtype):
  """To the bit, for `step` and `predict`; in float32 nothing is cast, and other entries stay."""
  model = made(name, dtype)
  params = disturbed(build(name)[1]) | {"statistics": jnp.float32(1 / 3)}
  before = model.cast(params)
  assert before["statistics"].dtype == jnp.float32
  dtypes = {x.dtype for x in jax.tree.leaves(before["dynamics"])}
  assert dtypes == {jnp.dtype(jnp.float32), jnp.dtype(dtype)}
  hidden = jax.jit(model.encode)(params, frames(name))
  action = jnp.arange(len(hidden), dtype=jnp.int32) % ACTIONS
  step, predict = jax.jit(model.step), jax.jit(model.predict)
  for got, expected in (
    (step(before, hidden, action), step(params, hidden, action)),
    (predict(before, hidden), predict(params, hidden)),
  ):
    for a, b in zip(got, expected, strict=True):
      np.testing.assert_array_equal(a, b)
