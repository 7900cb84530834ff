"""The learner with the real network, losses, replay and targets."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from muzero_jax.device import parallel
from muzero_jax.learner import Learner
from muzero_jax.losses import muzero
from muzero_jax.networks.mlp import mlp
from muzero_jax.networks.model import make_model
from muzero_jax.networks.scalars import Support
from muzero_jax.replay.frames import Ring
from muzero_jax.replay.sampling import Prioritized
from muzero_jax.targets import bootstrap, policy
from muzero_jax.targets.maker import TargetMaker
from muzero_jax.targets.returns import Returns
from tests import builders
from tests.learner_common import (
  ACTIONS,
  EMPTY,
  STACK,
  UNROLL,
  example,
  learner,
  sample,
  targets,
)


@pytest.mark.long
def test_two_devices_with_half_a_batch_each_are_one_with_all_of_it(key):
  """The same gradient and statistics, so the same parameters after the step; the network and the
  losses are the real ones."""
  model = make_model(
    mlp, "tiny", ACTIONS, Support(3), jax.ShapeDtypeStruct((STACK, 1), jnp.float32)
  )
  terms = {
    "value": (0.25, muzero.value(model)),
    "policy": (1.0, muzero.policy(model)),
    "reward": (1.0, muzero.reward(model)),
  }
  whole = sample(
    example([2.0, -4.0, 0.5, 1.0], action=[[0, 1, 2], [3, 2, 1], [1, 1, 0], [2, 0, 3]]),
    weight=[1, 0.5, 1, 0.25],
  )
  seen = dataclasses.replace(
    whole.example, advantage=jnp.array([0.5, 3.0, -2.0, 1.0]), value=jnp.arange(16.0).reshape(4, 4)
  )
  whole = dataclasses.replace(whole, example=seen)
  given = jax.random.normal(key, (4, UNROLL + 1))

  def make(drawn, value, mean):
    return learner(
      terms,
      drawn,
      model=model,
      mean=mean,
      targets=lambda params, key, example: targets(example.action.shape[0], value=value),
    )

  alone = make(whole, given, lambda x: x)
  start = alone.init(key)
  expected, _, figures = jax.jit(alone.update)(start, EMPTY, key)

  def half(state, local, count):
    drawn, value = local
    state, errors, metrics = make(drawn, value, parallel.mean).update(state, EMPTY, key)
    return state, errors, metrics

  devices = parallel.mesh()
  halves = parallel.split(
    jax.tree.map(lambda x: x.reshape(2, 2, *x.shape[1:]), (whole, given)), devices
  )
  state, _, metrics = parallel.pmapped(half, devices)(
    parallel.replicate(start, devices), halves, jnp.int32(0)
  )
  assert parallel.is_replicated(state)
  moved = jax.tree.map(
    lambda new, old: float(jnp.abs(new - old).max()), expected.params, start.params
  )
  assert max(jax.tree.leaves(moved)) > 0.1
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
    state.params,
    expected.params,
  )
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), state.statistics, expected.statistics
  )
  assert abs(float(expected.statistics.products)) > 1e-3
  np.testing.assert_allclose(
    metrics["learner/gradient_norm"], np.tile(figures["learner/gradient_norm"], (2, 1)), rtol=1e-5
  )


# With the real parts: a game of two transitions, whose frame is a number and whose reward is the
# first action's.


def recorded_game(ring):
  """Steps 0, 1, 2 of an episode, over and over: action a_0 in {0, 1} pays 0 or 1 at step 1; the
  action at step 1 pays nothing.
  """
  random = np.random.default_rng(0)
  replay, add = ring.init(), jax.jit(ring.add)
  action = np.zeros(ring.num_envs, np.int32)
  for t in range(ring.rows - 1):
    at = np.full(ring.num_envs, t % 3)
    frame = np.eye(3, dtype=np.float32)[at]
    decided = builders.decision(ring.num_envs, action=action, policy=[0.0, 1.0])
    time = builders.time_step(
      ring.num_envs,
      frame=frame,
      reward=np.where(at == 1, action, 0),
      discount=at != 2,
      first=at == 0,
      last=at == 2,
    )
    replay = add(replay, decided, time, jnp.int32(0))
    action = random.integers(0, 2, ring.num_envs).astype(np.int32)
  return replay


@pytest.fixture(scope="module")
def trained():
  """The model, the replay, a function from a seed to the state after 150 updates; state, priorities
  and metrics of seed 1.
  """
  ring = Ring(32, 4, 2, (3,), np.float32, stack=1, unroll=2, window=2 + 2 + 1)
  model = make_model(mlp, "tiny", 2, Support(3), jax.ShapeDtypeStruct((1, 3), jnp.float32))
  makers = {"reward": muzero.reward, "value": muzero.value, "policy": muzero.policy}
  terms = {name: (1.0, make(model)) for name, make in makers.items()}
  maker = TargetMaker(bootstrap.recorded, policy.recorded, Returns(2, 0.5), unroll=2)
  made = Learner(
    model,
    terms,
    lambda _: optax.adam(3e-3),
    ring,
    Prioritized(),
    maker,
    batch_size=16,
    target_period=50,
    mean=lambda x: x,
  )
  replay = recorded_game(ring)

  def update(carry, key):
    state, priorities = carry
    state, priorities, metrics = made.update(
      state, dataclasses.replace(replay, priorities=priorities), key
    )
    return (state, priorities), metrics

  start = jax.jit(made.init)(jax.random.key(0))
  run = jax.jit(lambda start, keys: jax.lax.scan(update, (start, replay.priorities), keys))
  (state, priorities), metrics = run(start, jax.random.split(jax.random.key(1), 150))

  def again(seed):
    return run(start, jax.random.split(jax.random.key(seed), 150))[0][0]

  return model, replay, again, state, priorities, jax.tree.map(np.asarray, metrics)


def test_losses_fall(trained):
  """Learning learns: reward, value and policy losses of a game that is all there is to know."""
  metrics = trained[-1]
  for name in ("reward", "value", "policy"):
    curve = metrics[f"loss/{name}"][:, 0] / metrics[f"loss/{name}"][:, 1]
    assert np.isfinite(curve).all()
    assert curve[-10:].mean() < 0.5 * curve[:5].mean(), name
  assert metrics["learner/target_age"][:, 0].max() == 49


def test_rewards_values_and_absorbing_states_are_learned(trained):
  """The model knows the reward of each action, the value of what it leads to, and that nothing
  comes after the end.
  """
  model, _, _, state, _, _ = trained
  params = state.params["model"]
  step, predict = jax.jit(model.step), jax.jit(model.predict)
  hidden = jax.jit(model.encode)(params, jnp.tile(jnp.array([1.0, 0, 0]), (2, 1, 1)))
  hidden, reward = step(params, hidden, jnp.array([0, 1]))
  np.testing.assert_allclose(model.decode(reward), [0, 1], atol=0.2)
  policy_logits, _ = predict(params, hidden)
  assert (jax.nn.softmax(policy_logits)[:, 1] > 0.9).all()  # the recorded policy
  for action in ([0, 1], [1, 0]):
    hidden, reward = step(params, hidden, jnp.array(action))
    np.testing.assert_allclose(model.decode(reward), [0, 0], atol=0.2)
    np.testing.assert_allclose(model.decode(predict(params, hidden)[1]), [0, 0], atol=0.2)


def test_priorities_reach_the_ring(trained):
  """A priority written back belongs to the example that was sampled; the row sums follow."""
  _, replay, _, _, priorities, _ = trained
  before, after = np.asarray(replay.priorities.priority), np.asarray(priorities.priority)
  np.testing.assert_array_equal(before > 0, after > 0)
  assert ((before > 0) & (before != after)).sum() > 20
  np.testing.assert_allclose(priorities.row_priority, after.sum(1), rtol=1e-5)


def test_one_seed_gives_one_run(trained):
  """One seed gives the same learner twice, bit for bit; two give different ones."""
  _, _, run, state, _, _ = trained
  same, other = run(1), run(2)
  for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(same), strict=True):
    np.testing.assert_array_equal(a, b)
  pairs = zip(jax.tree.leaves(state.params), jax.tree.leaves(other.params), strict=True)
  assert any(bool(jnp.any(a != b)) for a, b in pairs)
