"""From settings to components: what cannot be made is refused in a sentence."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax import build, diagnostics
from muzero_jax import config as configs
from muzero_jax.benchmark import memory
from muzero_jax.config import ConfigError
from muzero_jax.device import parallel
from muzero_jax.envs.base import Spec
from muzero_jax.loop import Shared
from muzero_jax.networks.flat import layout
from muzero_jax.networks.model import initial_inference
from muzero_jax.networks.q import QHead
from muzero_jax.search.equivalent import Classes
from muzero_jax.types import Model


def spec(*shape):
  return Spec(num_envs=2, num_actions=3, frame_shape=shape, frame_dtype=jnp.uint8)


@pytest.mark.parametrize("kind, size", [("resnet", "nano"), ("vector", "muzero"), ("mlp", "nano")])
def test_a_network_that_does_not_come_in_a_size_is_refused(make_config, kind, size):
  with pytest.raises(
    ConfigError, match=rf"--network\.size={size}: the {kind} network comes in .*tiny"
  ):
    build.make_model(
      make_config(network__kind=kind, network__size=size, env__kind="gymnax"), spec(48, 48)
    )


@pytest.mark.parametrize("kind", ["resnet", "vector", "hadamax"])
def test_networks_for_pictures_refuse_numbers(make_config, kind):
  with pytest.raises(ConfigError, match=r"use --network\.kind=mlp"):
    build.check_frames(
      make_config(network__kind=kind, env__kind="gymnax", env__task="CartPole-v1"), spec(4)
    )
  build.check_frames(make_config(network__kind="mlp"), spec(4))


@pytest.mark.parametrize(
  "decay, expected",
  [
    (0, [0.02, 0.04, 0.06, 0.06, 0.06, 0.06, 0.06]),
    (3, [0.02, 0.04, 0.06, 0.046, 0.032, 0.018, 0.018]),
  ],
)
def test_the_learning_rate_warms_up_and_decays(make_config, decay, expected):
  """Two steps of warm-up to 0.06, then three down to 0.3 of it. AdamW's step for a constant
  gradient is the rate itself.
  """
  settings = dict(
    optimizer__learning_rate=0.06, optimizer__warmup=2, optimizer__decay=decay, optimizer__final=0.3
  )
  params = jnp.zeros(1)
  optimizer = build.make_optimizer(
    make_config(**settings, optimizer__weight_decay=0.0, optimizer__clip=0.0), layout(params)
  )
  state, steps = optimizer.init(params), []
  for _ in expected:
    update, state = jax.jit(optimizer.update)(jnp.ones(1), state, params)
    steps.append(-float(update[0]))
  np.testing.assert_allclose(steps, expected, rtol=1e-4)


@pytest.mark.parametrize(
  ("kind", "qtransform", "expected"),
  [
    ("gumbel", "auto", "node"),
    ("puct", "auto", "tree"),
    ("none", "auto", "fixed"),
    ("gumbel", "skill", "skill"),
    ("puct", "node", "node"),
    ("none", "advantage", "advantage"),
  ],
)
def test_q_is_scaled_as_the_search_has_it_unless_told(make_config, kind, qtransform, expected):
  config = make_config(search__kind=kind, search__qtransform=qtransform)
  assert build.make_search(config, None).qtransform == expected


def test_settings_reach_the_searches(make_config):
  puct = build.make_search(
    make_config(search__kind="puct", search__epsilon=0.5, search__unvisited="zero"), None
  )
  assert (puct.epsilon, puct.unvisited) == (0.5, "zero")
  gumbel = build.make_search(make_config(search__epsilon=0.5, search__acting="sample"), None)
  assert (gumbel.epsilon, gumbel.acting, gumbel.for_evaluation().acting) == (
    0.5,
    "sample",
    "halving",
  )


def test_settings_reach_the_q_head(make_config):
  """What acts by Q explores by its own rule only, and what bootstraps from Q sees all frames."""
  games, head = spec(10, 5), dict(loss__q=1.0)
  assert build.make_model(make_config(), games).q is None
  for kind, outputs in (("scalar", 1), ("categorical", 11)):
    model = build.make_model(make_config(network__q=kind, **head), games)
    params = jax.eval_shape(model.init, jax.random.key(0))
    hidden = jnp.zeros((2, 64))
    assert jax.eval_shape(model.q.logits, params, hidden).shape == (2, 3, outputs)
  for acting, epsilon in (("epsilon", 0.2), ("boltzmann", 0.0), ("mellowmax", 0.0)):
    given = dict(search__q_acting=acting, search__q_epsilon=0.2, search__q_temperature=0.5)
    search = build.make_search(make_config(search__kind="q", **head, **given), model)
    assert (search.acting, search.epsilon, search.temperature) == (acting, epsilon, 0.5)
  for kind in ("q_max", "q_double", "q_mellowmax"):
    config = make_config(targets__bootstrap=kind, **head)
    estimate = build.make_targets(config, model, search).bootstrap.estimate
    assert kind in str(estimate)
    assert build.make_ring(config, games, 1).later == 2 + 3


def test_environments_are_seeded_after_any_number_of_steps(make_config):
  """A key takes 32 bits, and 1,024 devices make more steps than these count."""
  run = build.build(make_config(), begun=2**32)
  assert run.local().key.shape == (run.devices.size,)


def test_a_run_without_an_unroll_fits_together(make_config):
  """A whole tick can be made of it: all shapes fit with an unroll of 0."""
  dqn = dict(search__kind="q", targets__unroll=0, targets__bootstrap="q_double", loss__q=1.0)
  off = dict(loss__reward=0.0, loss__value=0.0, loss__policy=0.0)
  run = build.build(make_config(**dqn, **off, cpu_devices=1))
  learner = dataclasses.replace(run.loop.learner, mean=lambda x: x)
  loop = dataclasses.replace(run.loop, learner=learner)
  local = jax.eval_shape(lambda x: jax.tree.map(lambda x: x[0], x), run.local())
  shared = jax.eval_shape(lambda: Shared(learner.init(jax.random.key(0)), jnp.int32(0)))
  after = jax.eval_shape(loop.tick, shared, local)
  assert jax.tree.map(lambda x: x.shape, after[:2]) == jax.tree.map(
    lambda x: x.shape, (shared, local)
  )
  assert "unroll/reward_error_1" not in after[2] and "loss/q" in after[2]


def test_the_count_of_values_reaches_the_network(make_config):
  model = build.make_model(make_config(network__bins=41), spec(10, 5))
  assert model.encode_scalar(jnp.zeros(2)).shape == (2, 41)


def test_twins_are_measured_with_pongs_own_actions_only(make_config):
  """Its six actions are three pairs; of all 18 the classes are not known, nor of another game."""
  pong = make_config(env__kind="envpool", env__task="Pong-v5", network__kind="vector")
  for changes, classes in (
    ({}, [((0, 1), (2, 4), (3, 5))]),
    ({"env.full_action_set": True}, []),
    ({"env.task": "Breakout-v5"}, []),
    ({"env.kind": "catch"}, []),
  ):
    monitors = build.make_monitors(configs.replace(pong, changes), None, None)
    assert [m.classes for m in monitors if isinstance(m, diagnostics.EquivalentActionsQ)] == classes


def test_classes_are_counted_with_the_model_that_is_searched(make_config):
  """Its value is the second one, and its policy the Q head's, where the search has them."""
  config = make_config(
    search__equivalence=0.02,
    search__second_share=1.0,
    search__q_prior=0.5,
    loss__second_value=1.0,
    loss__q=1.0,
  )
  head = QHead(lambda params, hidden: 2 * hidden, lambda q: q, None)
  model = Model(
    init=None,
    encode=None,
    predict=lambda params, hidden: (hidden, hidden[:, :1]),
    step=None,
    decode=lambda logits: logits[..., 0],
    encode_scalar=lambda x: jnp.exp(x)[..., None],
    second=lambda params, hidden: 3 * hidden[:, :1],
    q=head,
  )
  [monitor] = [m for m in build.make_monitors(config, model, None) if isinstance(m, Classes)]
  policy_logits, value = monitor.model.predict({}, jnp.ones((1, 2)))
  np.testing.assert_allclose(policy_logits, [[4, 4]])
  np.testing.assert_allclose(value, [[3]], rtol=1e-6)


def test_the_tree_follows_the_platform_unless_told(make_config):
  """What differs on accelerators comes from an argument, not from the devices that are here."""
  for kind, tree, platform, expected in (
    ("gumbel", "auto", "cpu", "mctx"),
    ("gumbel", "auto", "gpu", "rounds"),
    ("puct", "auto", "gpu", "batched"),
    ("gumbel", "auto", "tpu", "batched"),
    ("gumbel", "mctx", "gpu", "mctx"),
    ("gumbel", "batched", "cpu", "batched"),
  ):
    config = make_config(search__kind=kind, search__tree=tree)
    assert build.make_search(config, None, platform).tree == expected


def test_only_a_tpu_gets_aligned_frames_and_shifts_by_products(make_config):
  config, games = make_config(), spec(10, 5)
  for platform in ("cpu", "gpu", "tpu"):
    ring = build.make_ring(config, games, 1, platform)
    model = build.make_model(config, games, platform)
    learner = build.make_learner(config, model, build.make_search(config, model), ring, platform)
    assert ring.aligned == learner.by_products == (platform == "tpu")
    assert (model.mapped is not Model._field_defaults["mapped"]) == (platform == "cpu")


def test_totals_are_shared_by_the_devices(make_config):
  """The same experiment on any number of devices; without totals, nothing changes."""
  config = make_config(env__total_envs=12, learner__total_batch_size=32)
  assert [
    (shared.env.num_envs, shared.learner.batch_size)
    for shared in (build.per_device(config, devices) for devices in (1, 2, 4))
  ] == [(12, 32), (6, 16), (3, 8)]
  assert build.per_device(make_config(), 2) == make_config()
  run = build.build(config)  # on two devices
  assert run.width == 12 and run.loop.learner.batch_size == 16
  assert memory.shares(run) == (
    "2 device(s) with 6 environments and 16 examples per gradient step each; 12 and 32 in total"
  )
  with pytest.raises(ConfigError, match=r"--env\.total_envs=12: cannot be shared equally by 5"):
    build.per_device(config, 5)


def test_ideas_of_the_search_go_together(make_config):
  """Each has its metrics and parameters; the program is traced, not compiled."""
  config = make_config(
    cpu_devices=1,
    search__kind="puct",
    search__improvement="all",
    search__equivalence=0.02,
    search__second_share=0.5,
    search__focus=True,
    search__goal_share=0.25,
    loss__jump=1.0,
    loss__jump_steps=2,
    loss__second_value=0.25,
    loss__uncertainty=0.25,
  )
  run = build.build(config)
  tick = parallel.pmapped(lambda shared, local, _: run.loop.tick(shared, local), run.devices)
  shared, _, metrics = jax.eval_shape(tick, jax.eval_shape(run.shared), run.local(), 1)
  names = {"search/classes", "search/uncertainty_slope", "loss/second_value", "loss/uncertainty"}
  names |= {"loss/jump"}
  assert names < set(metrics)
  assert {"second", "uncertainty", "jump"} < set(shared.learner.params["model"])


@pytest.mark.parametrize("acting", ["halving", "sample"])
def test_a_goal_gives_no_share_to_actions_that_are_not_searched(make_config, key, acting):
  """All actions are equivalent, so that one is searched; its probability is shared by all."""
  config = make_config(
    search__equivalence=1e9,
    search__goal_share=0.5,
    search__acting=acting,
    loss__jump=1.0,
    loss__jump_steps=2,
  )
  run = build.build(config)
  model, search = run.loop.model, run.loop.search
  params = model.init(key)
  frames = jax.random.uniform(key, (6, run.loop.ring.stack, *run.loop.environment.spec.frame_shape))
  decision = search(params, key, initial_inference(model, params, frames))
  np.testing.assert_allclose(decision.policy.sum(-1), 1, rtol=1e-5)
  assert (decision.policy > 0).all()
  probability = jnp.take_along_axis(decision.policy, decision.action[:, None], 1)[:, 0]
  np.testing.assert_allclose(jnp.exp(decision.log_prob), probability, rtol=1e-4)
