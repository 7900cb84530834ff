"""The learner, with linear models whose gradients are worked by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from muzero_jax.learner import EVIDENCE, batch_statistics, forget, halve_gradient
from muzero_jax.networks.resets import Resets
from muzero_jax.replay.frames import Ring
from muzero_jax.targets import bootstrap, policy
from muzero_jax.targets.maker import TargetMaker
from muzero_jax.targets.returns import Returns
from muzero_jax.types import Term
from tests import builders
from tests.learner_common import (
  ACTIONS,
  EMPTY,
  STACK,
  UNROLL,
  example,
  hidden_after,
  learner,
  linear_model,
  sample,
  targets,
  term,
)


def test_halve_gradient():
  value, gradient = jax.value_and_grad(lambda x: halve_gradient(x) * 3)(jnp.float32(5))
  assert value == 15 and gradient == 1.5


def test_gradient_entering_the_dynamics_is_halved_at_each_step(key):
  """The gradient entering the dynamics is halved at each step; what is predicted is not."""
  one = sample(example([2.0]))
  params = {"model": {"e": jnp.float32(1), "w": jnp.float32(3)}}
  found = []
  for i in range(UNROLL + 1):
    value, gradient = jax.value_and_grad(
      lambda p: learner(hidden_after(i)).loss(p, one, targets(1), key)[0]
    )(params)
    found.append([float(value), float(gradient["model"]["e"]), float(gradient["model"]["w"])])
  # h_0 = 2e, h_1 = w h_0 = 6, h_2 = w h_1 = 18. dh_i/de = 2 (w/2)^i. dh_1/dw = h_0 = 2; dh_2/dw =
  # h_1 + w/2 * dh_1/dw = 6 + 3.
  np.testing.assert_array_equal(found, [[2, 2, 0], [6, 3, 2], [18, 4.5, 9]])


def test_gradient_into_the_reward_is_halved(key):
  """The gradient entering the dynamics is halved, through its reward too; that of root predictions
  is not.
  """
  one = sample(example([2.0]))
  params = {"model": {"e": jnp.float32(1), "w": jnp.float32(3)}}

  def gradient(loss):
    return jax.grad(lambda p: learner({"x": (1.0, term(loss))}).loss(p, one, targets(1), key)[0])(
      params
    )["model"]["e"]

  # The model's reward logit at a step is its incoming hidden state: r_1 = h_0 = 2e.
  assert gradient(lambda params, context: context.reward_logits[:, 0, 0]) == 1
  assert gradient(lambda params, context: context.value_logits[:, 0, 0]) == 2


def test_unroll_uses_the_actions_from_the_root_on(key):
  """The unroll from step t uses a_t ... a_{t+k-1}; it predicts k rewards (none at the root), k+1
  values and k+1 policies.
  """
  one = example([7.0, 8.0], action=[[1, 2, 3], [3, 0, 2]])
  context = learner({}).unroll({"model": {"e": jnp.float32(1), "w": None}}, one, targets(2), key)
  np.testing.assert_array_equal(context.hidden[..., 0], [[7, 1, 2], [8, 3, 0]])
  assert context.policy_logits.shape == (2, UNROLL + 1, ACTIONS)
  assert context.value_logits.shape == (2, UNROLL + 1, 1)
  assert context.reward_logits.shape == (2, UNROLL, 1)


def test_predictions_stand_at_their_examples_and_steps(key):
  params = {"model": {"e": jnp.float32(1), "w": jnp.float32(3)}}
  context = learner({}).unroll(params, example([1.0, 2.0]), targets(2), key)
  np.testing.assert_array_equal(context.value_logits[..., 0], [[1, 3, 9], [2, 6, 18]])
  np.testing.assert_array_equal(
    context.reward_logits[..., 0], [[1, 3], [2, 6]]
  )  # of the step's incoming hidden state


def test_random_actions_feed_the_dynamics_after_the_end(key):
  """After the end random actions feed the dynamics, so that absorbing states are learned as
  absorbing; before it the real ones.
  """
  size = 64
  one = example([0.0] * size, action=[[2, 2, 2]] * size)
  policy_mask = [[1, 0, 0]] * (size // 2) + [[1, 1, 0]] * (
    size // 2
  )  # ended with step t+1, with step t+2
  unroll = jax.jit(learner({}).unroll)
  params = {"model": {"e": jnp.float32(1), "w": None}}
  actions = np.asarray(
    unroll(params, one, targets(size, policy_mask=policy_mask), key).hidden[:, 1:, 0]
  )
  # a_t leads into the end of the first half, a_{t+1} of the second: those are real.
  assert (actions[:, 0] == 2).all() and (actions[size // 2 :, 1] == 2).all()
  assert set(actions[: size // 2, 1]) == {0, 1, 2, 3}
  other = np.asarray(
    unroll(params, one, targets(size, policy_mask=policy_mask), jax.random.key(1)).hidden[:, 1:, 0]
  )
  assert (actions != other).any()


def test_root_stack_is_the_one_that_was_acted_on(key):
  """Acting and learning stack in the same way, across resets too."""
  ring = Ring(12, 1, ACTIONS, (1,), np.float32, stack=3, unroll=UNROLL, window=UNROLL + 2)
  model = linear_model()._replace(
    encode=lambda params, frames: frames[..., 0] @ jnp.array([[100.0], [10.0], [1.0]])
  )
  replay, acted, add = ring.init(), [], jax.jit(ring.add)
  decision = builders.decision(1, ACTIONS)
  for t in range(8):
    first = t in (0, 4)
    time = builders.time_step(1, frame=jnp.full((1, 1), t + 1.0), first=first, last=not first)
    replay = add(replay, decision, time, jnp.int32(0))
    acted.append(float(model.encode(None, ring.recent(replay))[0, 0]))
  assert acted == [111, 112, 123, 234, 555, 556, 567, 678]
  examples = jax.vmap(lambda i: ring.example(replay, i, jnp.int32(0)))(jnp.arange(8))
  unrolled = dataclasses.replace(learner({}), ring=ring, model=model)
  params = {"model": {"e": jnp.float32(1), "w": jnp.float32(1)}}
  found = jax.jit(unrolled.unroll)(params, examples, targets(8), key).hidden[:, 0, 0]
  np.testing.assert_array_equal(found, acted)


def test_importance_weights_are_really_used(key):
  """Importance weights are really used: losses and gradients of an example count its weight, and
  are averaged over the batch.
  """
  drawn = sample(example([2.0, 4.0]), weight=[1, 0.25])
  made = learner(hidden_after(0), drawn)
  state, _, metrics = made.update(made.init(key), EMPTY, key)
  # (1 * 2e + 0.25 * 4e)/2 = 1.5e, so one step of SGD at rate 1 makes e = 1 - 1.5.
  assert metrics["loss/total"].tolist() == [1.5, 1]
  assert state.params["model"]["e"] == -0.5


def test_terms_are_weighted(key):
  terms = {
    "a": (2.0, term(lambda params, context: context.hidden[:, 0, 0])),
    "b": (0.5, term(lambda params, context: 8 * jnp.ones(context.hidden.shape[0]))),
  }
  total, (_, metrics) = learner(terms).loss(
    {"model": linear_model().init(key)}, sample(example([3.0, 5.0])), targets(2), key
  )
  assert total == 2 * 4 + 0.5 * 8  # the mean of 3 and 5, and 8
  assert metrics["loss/a"].tolist() == [8, 2] and metrics["loss/b"].tolist() == [16, 2]


def test_gradients_are_averaged_over_devices(key):
  """What the optimizer gets has been through `mean`."""
  made = learner(
    hidden_after(0), sample(example([2.0])), mean=lambda tree: jax.tree.map(lambda x: 10 * x, tree)
  )
  state, _, metrics = made.update(made.init(key), EMPTY, key)
  assert state.params["model"]["e"] == 1 - 20
  assert metrics["learner/gradient_norm"].tolist() == [20, 1]


def test_statistics_of_a_batch_by_hand():
  """Errors 4 and 2: (16 + 4)/2. Advantages 1/2 and -1: (1/4 + 1)/2. Returns 3 and 1 after recorded
  values 1 and 2, so 2 and -1 came of them: (1/2 * 2 + 1)/2. Importance weights do not enter."""
  one = dataclasses.replace(
    example([0.0, 0.0]),
    advantage=jnp.array([0.5, -1.0]),
    value=jnp.array([[1.0, 9, 9, 9], [2.0, 9, 9, 9]]),
  )
  made = targets(2, value=[[3, 9, 9], [1, 9, 9]])
  found = batch_statistics(sample(one, weight=[1, 0.5]), made, jnp.array([4.0, 2.0]))
  assert (
    float(found.weight),
    float(found.errors),
    float(found.squares),
    float(found.products),
  ) == (1, 10, 0.625, 1)


def test_statistics_are_running_sums(key):
  """Every update keeps 0.995 of them and adds 0.005 of its batch's. Of frame 2 the value is 2e and
  the return 5; the loss 2e makes e = 1 - 2 = -1: errors of 3 and then 7. Weights: 0.005 and 0.005 *
  1.995 = 0.009975. Squared errors: 0.045, then 0.044775 + 0.005 * 49 = 0.289775, which is 29.0501 a
  batch, so 5.38982. The advantage was 1/2, and 5 - 1 = 4 came of it: a slope of 8."""
  one = dataclasses.replace(
    example([2.0]), advantage=jnp.array([0.5]), value=jnp.ones((1, UNROLL + 2))
  )
  made = learner(
    hidden_after(0), sample(one), targets=lambda params, key, example: targets(1, value=[[5, 0, 0]])
  )
  state = made.init(key)
  assert (float(state.statistics.error), float(state.statistics.skill)) == (1, 0)
  state, _, metrics = made.update(state, EMPTY, key)
  np.testing.assert_allclose(metrics["learner/return_error"], [3, 1], rtol=1e-5)
  state, _, metrics = made.update(state, EMPTY, key)
  np.testing.assert_allclose(metrics["learner/return_error"], [5.38982, 1], rtol=1e-4)
  np.testing.assert_allclose(metrics["learner/skill"], [8, 1], rtol=1e-4)
  numbers = state.statistics
  found = [float(x) for x in (numbers.weight, numbers.errors, numbers.squares, numbers.products)]
  np.testing.assert_allclose(found, [0.009975, 0.289775, 0.009975 / 4, 0.009975 * 2], rtol=1e-4)


def test_searches_are_given_statistics(key):
  """With the newest parameters in play, and with the target network's where targets are made; the
  numbers are today's in both."""
  seen = []

  def note(params, key, example):
    seen.append((float(params["e"]), float(params["statistics"].weight)))
    return targets(1)

  made = learner(hidden_after(0), sample(example([1.0])), targets=note)
  state = made.init(key)
  for _ in range(2):
    state, _, _ = made.update(state, EMPTY, key)
  np.testing.assert_allclose(seen, [[1, 0], [1, 0.005]], rtol=1e-5)
  variables = state.variables
  assert set(variables) == {"e", "w", "statistics"}
  np.testing.assert_allclose(
    [variables["e"], variables["statistics"].weight], [-1, 0.009975], rtol=1e-5
  )


def test_priorities_are_absolute_value_errors(key):
  """A priority is |value - target| of the root, of the example that was sampled, as plain scalars
  and before the step.
  """
  drawn = sample(example([2.0, 4.0, -1.0]), weight=[1, 0.5, 0.25])
  given = targets(3, value=[[5, 0, 0], [3, 9, 9], [-1, 0, 0]])
  made = learner(hidden_after(1), drawn, targets=lambda params, key, example: given)
  state = dataclasses.replace(
    made.init(key), params={"model": {"e": jnp.float32(1), "w": jnp.float32(3)}}
  )  # later values differ
  _, errors, metrics = made.update(state, EMPTY, key)
  # |2 - 5|, |4 - 3|, |-1 + 1|; weights do not enter.
  np.testing.assert_array_equal(errors, [3, 1, 0])
  assert metrics["learner/value_error"].tolist() == [4, 3]
  assert metrics["replay/age"].tolist() == [0 + 1 + 2, 3] and metrics["replay/oldest"].tolist() == [
    2,
    1,
  ]


def test_target_network_is_copied_every_period(key):
  """The target network is bounded in age: every `target_period` gradient steps it becomes the
  newest parameters.
  """
  seen = []

  def note(params, key, example):
    seen.append(float(params["e"]))
    return targets(1)

  made = learner(hidden_after(0), sample(example([1.0])), target_period=3, targets=note)
  state = made.init(key)
  found, ages = [], []
  for _ in range(7):
    state, _, metrics = made.update(state, EMPTY, key)
    found.append([float(state.params["model"]["e"]), float(state.target_params["e"])])
    ages.append(metrics["learner/target_age"].tolist())
  # The gradient is 1: e falls by 1 a step, from 1. After steps 3 and 6 the target is a copy.
  assert found == [[0, 1], [-1, 1], [-2, -2], [-3, -2], [-4, -2], [-5, -5], [-6, -5]]
  assert seen == [1, 1, 1, -2, -2, -2, -5]  # targets are made with the target network
  assert ages == [[a, 1] for a in (0, 1, 2, 0, 1, 2, 0)]
  assert state.step == 7


def test_target_parameters_are_no_alias(key):
  """The target network starts as a copy, in memory of its own: the state can be donated."""
  made = learner(hidden_after(0), sample(example([1.0])))
  state = jax.jit(made.update, donate_argnums=0)(made.init(key), EMPTY, key)[0]
  assert state.target_params["e"] == 1


def value_targets():
  """Values of the target network, which is what the parameters of `linear_model` make of the last
  frame that is given.
  """
  network = bootstrap.TargetNetwork(linear_model(), STACK, UNROLL, 1, every_step=False)
  return TargetMaker(network, policy.recorded, Returns(1, 0.5), UNROLL)


def squared_error(params, context):
  return (context.value_logits[:, 0, 0] - context.targets.value[:, 0]) ** 2


def test_target_network_carries_no_gradient(key):
  """The target network carries no gradient, even where it is the network itself."""
  one = example([2.0])
  one = dataclasses.replace(one, frames=jnp.full_like(one.frames, 2.0))
  made = learner({"value": (1.0, term(squared_error))})

  def total(params):
    return made.loss(params, sample(one), value_targets()(params["model"], key, one), key)[0]

  params = {"model": {"e": jnp.float32(3), "w": jnp.float32(1)}}
  # v = 2e = 6, target = 0.5 * 6 = 3: the loss is (6 - 3)^2, its gradient 2 * 3 * 2 = 12 (with the
  # target's, 2 * 3 * (2 - 1) = 6).
  assert total(params) == 9
  assert jax.grad(total)(params)["model"]["e"] == 12


def test_targets_see_no_augmentation(key):
  """Acting and reanalysis see no augmentation: targets are made from the frames as they are, losses
  from shifted ones.
  """
  frames = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
  one = dataclasses.replace(
    example([0.0, 0.0]), frames=jnp.asarray(frames), first=jnp.zeros((2, 3), bool)
  )
  seen = {}

  def note_targets(params, key, example):
    seen["targets"] = np.asarray(example.frames)
    return targets(2)

  def note_loss(params, context):
    seen["loss"] = np.asarray(context.example.frames)
    return context.hidden[:, 0, 0]

  model = linear_model()._replace(
    encode=lambda params, x: params["e"] * x[:, -1, :1, 0].astype(jnp.float32)
  )
  made = learner(
    {"note": (1.0, term(note_loss))}, sample(one), model=model, targets=note_targets, shift=1
  )
  made.update(made.init(key), EMPTY, jax.random.key(3))
  np.testing.assert_array_equal(seen["targets"], frames)
  assert seen["loss"].shape == frames.shape and not np.array_equal(seen["loss"], frames)
  plain = dataclasses.replace(made, shift=0)
  plain.update(plain.init(key), EMPTY, jax.random.key(3))
  np.testing.assert_array_equal(seen["loss"], frames)


def shift_of(picture, found):
  """By how many pixels, down and right, a picture [T, H, W] was moved at most 2; the border
  repeats."""
  padded = np.pad(picture, [(0, 0), (2, 2), (2, 2)], mode="edge")
  height, width = picture.shape[1:]
  fitting = [
    (y, x)
    for y in range(5)
    for x in range(5)
    if np.array_equal(padded[:, y : y + height, x : x + width], found)
  ]
  assert len(fitting) == 1
  return fitting[0]


def test_the_root_and_what_it_is_compared_with_are_shifted_apart(key):
  """What a consistency loss compares must not share one shift, or the shift is what makes it alike:
  the encoder sees the root's stack with one draw, loss terms see all frames with another, one for
  all frames of an example."""
  size, shape = 16, (6, 7)
  frames = (
    np.random.default_rng(0).integers(0, 256, (size, STACK + UNROLL, *shape)).astype(np.uint8)
  )
  one = dataclasses.replace(
    example([0.0] * size), frames=jnp.asarray(frames), first=jnp.zeros((size, STACK + UNROLL), bool)
  )
  seen = {}

  def note(params, context):
    seen["encoder"] = np.asarray(context.hidden[:, 0]).reshape(size, 1, *shape)
    seen["term"] = np.asarray(context.example.frames)
    return context.hidden[:, 0, 0]

  model = linear_model()._replace(
    encode=lambda params, frames: params["e"] * frames[:, -1].reshape(size, -1).astype(jnp.float32),
    decode=lambda logits: logits[..., 0],
  )
  for shift in (0, 2):
    made = learner({"note": (1.0, term(note))}, model=model, shift=shift)
    made.loss({"model": model.init(key)}, sample(one), targets(size), key)
    roots = [shift_of(frames[i, STACK - 1 : STACK], seen["encoder"][i]) for i in range(size)]
    later = [shift_of(frames[i], seen["term"][i]) for i in range(size)]
    apart = sum(a != b for a, b in zip(roots, later, strict=True))
    if shift:
      assert apart > size / 2 and len(set(roots)) > 4 and len(set(later)) > 4
    else:
      assert apart == 0 and set(later) == {(2, 2)}


def test_parameters_of_terms_are_learned(key):
  own = Term(
    init=lambda key: {"x": jnp.float32(5)},
    loss=lambda params, context: params["own"]["x"] * jnp.ones(1),
  )
  made = learner({"own": (2.0, own), **hidden_after(0)}, sample(example([1.0])))
  state = made.init(key)
  assert set(state.params) == {"model", "own"}  # none for terms without parameters
  assert set(state.target_params) == {"e", "w"}  # of the model only
  state, _, _ = made.update(state, EMPTY, key)
  assert state.params["own"]["x"] == 5 - 2


def same(a, b) -> bool:
  return all(
    np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


def evidence(metrics):
  return {name: metrics.pop(name).tolist() for name in list(metrics) if name.startswith(EVIDENCE)}


def test_a_loss_that_is_not_finite_changes_nothing(key):
  """Of frame inf the loss inf * e is infinite. One such step may be skipped, at the second the
  learner stops, and the third is not even counted. Only the second is reported: its loss, the
  gradient's norm, the batch.
  """
  made = learner(hidden_after(0), sample(example([np.inf])), skips=1)
  first = made.init(key)
  state, priorities, metrics = made.update(first, EMPTY, key)
  assert same(dataclasses.replace(state, skipped=first.skipped), first)
  assert (int(state.skipped), bool(made.stopped(state))) == (1, False)
  assert np.isfinite(priorities).all()  # the sampler of these tests returns the errors
  assert not any(np.any(value) for value in evidence(metrics).values())
  assert metrics.pop("learner/skipped").tolist() == [1, 1]
  assert not any(x.any() for x in metrics.values())  # no weight: rows hold no infinities

  state, _, metrics = made.update(state, EMPTY, key)
  assert same(dataclasses.replace(state, skipped=first.skipped), first)
  assert (int(state.skipped), bool(made.stopped(state))) == (2, True)
  found = evidence(metrics)
  assert found[f"{EVIDENCE}found"][:2] == [1, np.inf]
  assert np.isnan(found[f"{EVIDENCE}found"][2])  # the later frames' gradients are 0 times inf
  assert (found[f"{EVIDENCE}index"], found[f"{EVIDENCE}weight"]) == ([0], [1])
  assert found[f"{EVIDENCE}terms"] == [np.inf]

  final, _, metrics = made.update(state, EMPTY, key)
  assert same(final, state)
  assert not any(np.any(value) for value in evidence(metrics).values())
  assert metrics["learner/skipped"].tolist() == [0, 1]


def test_after_the_learner_has_stopped_good_steps_are_not_taken_either(key):
  made = learner(hidden_after(0), sample(example([2.0])))
  first = dataclasses.replace(made.init(key), skipped=jnp.int32(1))
  state, _, metrics = made.update(first, EMPTY, key)
  assert same(state, first)
  assert metrics["loss/total"].tolist() == [0, 0]


def test_a_gradient_that_is_not_finite_is_not_taken(key):
  """sqrt(e - 1) is 0 at e = 1, and its slope is infinite."""
  root = term(lambda params, context: jnp.sqrt(context.hidden[:, 0, 0] - 1))
  made = learner({"root": (1.0, root)}, sample(example([1.0])))
  first = made.init(key)
  state, _, metrics = made.update(first, EMPTY, key)
  assert float(state.params["model"]["e"]) == 1 and int(state.skipped) == 1
  assert evidence(metrics)[f"{EVIDENCE}found"][:3] == [1, 0, np.inf]


def test_parameters_beyond_the_limit_are_not_taken(key):
  """A step of 20 makes e = 1 - 20 = -19: within a limit of 19, beyond one of 18."""
  for limit, taken in ((19.0, True), (18.0, False)):
    made = learner(hidden_after(0), sample(example([20.0])), limit=limit)
    state, _, metrics = made.update(made.init(key), EMPTY, key)
    assert float(state.params["model"]["e"]) == (-19 if taken else 1)
    assert int(state.skipped) == (not taken)
    found = evidence(metrics)[f"{EVIDENCE}found"]
    assert found == ([0, 0, 0, 0] if taken else [1, 20, 20, 19])


def test_a_reset(key):
  """Gradient steps of -1 on e, which is 1 at the beginning: 0, and -1, at which it is reset to 1.
  Then it goes on, without another reset near the end. The target network is reset, too.
  """
  made = learner(hidden_after(0), sample(example([1.0])), resets=Resets(2, end=3), target_period=1)
  update = jax.jit(lambda state: made.update(state, EMPTY, key)[0])
  state, found = made.init(key), []
  for _ in range(4):
    state = update(state)
    found.append((float(state.params["model"]["e"]), float(state.target_params["e"])))
  assert found == [(0, 0), (1, 1), (0, 0), (-1, -1)]


def test_moments_are_forgotten_at_a_reset():
  """But the schedule of the learning rate goes on."""
  optimizer = optax.adamw(optax.constant_schedule(1.0))
  params = jnp.ones(2)
  _, state = optimizer.update(params, optimizer.init(params), params)
  before, after = state[0], forget(state)[0]
  assert float(before.mu[0]) > 0 and int(before.count) == 1
  jax.tree.map(np.testing.assert_array_equal, after, optimizer.init(params)[0])
  assert jax.tree.leaves(forget(state)[-1]) == [1]
