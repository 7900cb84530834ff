"""Where foreign values enter, a wrong shape or type is an error that says whose it is."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from muzero_jax import learner
from muzero_jax.envs import base, catch, pure
from muzero_jax.networks.mlp import mlp
from muzero_jax.networks.model import initial_inference, make_model
from muzero_jax.networks.scalars import Support
from muzero_jax.replay.frames import Ring
from muzero_jax.search.base import RecurrentFn
from muzero_jax.types import Decision, Sample, TimeStep
from tests import builders

ENVS, ACTIONS = 2, 3
FRAMES = jax.ShapeDtypeStruct((1, 10, 5), jnp.uint8)
MODEL = make_model(mlp, "tiny", ACTIONS, Support(5), FRAMES, jnp.float32)


def time(**changes) -> TimeStep:
  right = builders.time_step(ENVS, frame=jnp.zeros((ENVS, 10, 5), jnp.uint8))
  return dataclasses.replace(right, **changes)


def decision(**changes) -> Decision:
  return dataclasses.replace(builders.decision(ENVS, ACTIONS), **changes)


WRONG_STEPS = [
  {"frame": jnp.zeros((ENVS, 5, 10), jnp.uint8)},
  {"frame": jnp.zeros((ENVS, 10, 5))},
  {"reward": jnp.zeros((ENVS, 1))},
  {"discount": jnp.zeros(())},
  {"first": jnp.zeros(ENVS)},
  {"last": jnp.zeros(ENVS + 1, bool)},
]


@pytest.mark.parametrize("wrong", WRONG_STEPS, ids=lambda wrong: next(iter(wrong)))
def test_an_environments_step(wrong):
  spec = base.Spec(ENVS, ACTIONS, (10, 5))
  base.check_step(spec, time())
  with pytest.raises(AssertionError, match="of the environment's"):
    base.check_step(spec, time(**wrong))


def test_a_game_that_draws_another_frame_than_it_promised():
  """The check is part of the loop and of evaluation."""
  game = catch.catch()._replace(frame_shape=(5, 10))
  environment = pure.PureEnvironment(game, ENVS)
  with pytest.raises(AssertionError, match="of the environment's frames"):
    base.check_step(environment.spec, environment.recv(environment.reset(jax.random.key(0)))[1])


@pytest.mark.parametrize("wrong", WRONG_STEPS, ids=lambda wrong: next(iter(wrong)))
def test_a_step_for_the_replay(wrong):
  ring = Ring(16, ENVS, ACTIONS, (10, 5), stack=1)
  jax.eval_shape(ring.add, ring.init(), decision(), time(), jnp.int32(0))
  with pytest.raises(AssertionError, match="replay"):
    jax.eval_shape(ring.add, ring.init(), decision(), time(**wrong), jnp.int32(0))


@pytest.mark.parametrize(
  "wrong",
  [
    {"action": jnp.zeros(ENVS)},
    {"policy": jnp.zeros((ENVS, ACTIONS + 1))},
    {"value": jnp.zeros((ENVS, 1))},
    {"advantage": jnp.zeros(())},
  ],
  ids=lambda wrong: next(iter(wrong)),
)
def test_a_decision_for_the_replay(wrong):
  ring = Ring(16, ENVS, ACTIONS, (10, 5), stack=1)
  with pytest.raises(AssertionError, match="replay"):
    jax.eval_shape(ring.add, ring.init(), decision(**wrong), time(), jnp.int32(0))


def test_a_models_output():
  params = jax.eval_shape(MODEL.init, jax.random.key(0))
  frames = jax.ShapeDtypeStruct((ENVS, *FRAMES.shape), jnp.uint8)
  action, depth = (
    jax.ShapeDtypeStruct((ENVS,), jnp.int32),
    jax.ShapeDtypeStruct((ENVS,), jnp.float32),
  )
  hidden = jax.eval_shape(MODEL.encode, params, frames)

  def at_root(model):
    return jax.eval_shape(lambda p, f: initial_inference(model, p, f), params, frames)

  def in_tree(model):
    tree = RecurrentFn(model, 0.9)
    node = (hidden, depth)
    return jax.eval_shape(lambda p, a, node: tree(p, None, a, node), params, action, node)

  at_root(MODEL), in_tree(MODEL)
  keeps_axis = MODEL._replace(decode=lambda logits: MODEL.decode(logits)[:, None])

  def predict(params, hidden):
    return jnp.zeros(ACTIONS), MODEL.predict(params, hidden)[1]

  one_policy = MODEL._replace(predict=predict)
  for model in (keeps_axis, one_policy):
    for use in (at_root, in_tree):
      with pytest.raises(AssertionError, match="of the model's policy logits"):
        use(model)

  def step(params, hidden, action):
    hidden, reward = MODEL.step(params, hidden, action)
    return jnp.concatenate([hidden, hidden], 1), reward

  grows = MODEL._replace(step=step)
  with pytest.raises(AssertionError):
    in_tree(grows)


@pytest.mark.parametrize(
  "wrong",
  [jnp.zeros(()), jnp.zeros((4, 1)), jnp.zeros(4, jnp.bfloat16)],
  ids=["mean", "axis", "type"],
)
def test_a_terms_loss(wrong):
  sample = Sample(example=None, index=jnp.zeros(4, jnp.int32), weight=jnp.ones(4))
  right = jnp.zeros(4)
  learner.check_losses({"own": right, "other": right}, sample)
  with pytest.raises(AssertionError, match="of the loss term own"):
    learner.check_losses({"other": right, "own": wrong}, sample)
