"""Loss terms against cross-entropies and similarities worked by hand."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.losses import common, muzero
from muzero_jax.losses import consistency as consistency_module
from muzero_jax.losses.consistency import consistency
from muzero_jax.losses.policy_gradient import normalize, policy_gradient
from muzero_jax.types import Context, Example, Model
from tests.builders import filled, targets

LN2 = float(np.log(2))


def one_hot_model(encode=None):
  """Scalars 0, 1, 2 are the bins."""
  return Model(
    init=lambda key: {},
    encode=encode,
    predict=lambda params, hidden: (hidden, hidden),
    step=lambda params, hidden, action: (hidden, hidden),
    decode=lambda logits: jnp.argmax(logits, -1).astype(jnp.float32),
    encode_scalar=lambda scalar: jax.nn.one_hot(scalar.astype(jnp.int32), 3),
  )


def context(made, *, example=None, hidden=None):
  """Predictions: values and rewards (1/2, 1/4, 1/4) everywhere, policies (3/4, 1/4) at the root and
  (1/2, 1/2) after it.
  """
  size, steps = made.value.shape
  scalar = jnp.log(jnp.array([0.5, 0.25, 0.25])) + 7  # logits are known up to a constant
  policy = jnp.log(jnp.array([[0.75, 0.25]] + [[0.5, 0.5]] * (steps - 1)))
  return Context(
    example=example,
    targets=made,
    hidden=hidden,
    policy_logits=jnp.tile(policy[None], (size, 1, 1)),
    value_logits=jnp.tile(scalar[None, None], (size, steps, 1)),
    reward_logits=jnp.tile(scalar[None, None], (size, steps - 1, 1)),
  )


def loss(term, made):
  return np.asarray(term(one_hot_model()).loss({}, context(made)))


def test_cross_entropy_by_hand():
  # -(1/2 ln 1/2 + 1/2 ln 1/4) = ln 2 / 2 + ln 2.
  logits = jnp.log(jnp.array([0.5, 0.25, 0.25])) - 3
  np.testing.assert_allclose(
    common.cross_entropy(jnp.array([0.5, 0.5, 0.0]), logits), 1.5 * LN2, rtol=1e-6
  )


def test_cross_entropy_is_float32():
  """All losses in float32, whatever the trunk's precision: 601 bins of half-precision logits lose
  nothing more.
  """
  logits = jnp.linspace(-3, 3, 601).astype(jnp.bfloat16)
  found = common.cross_entropy(jnp.full(601, 1 / 601), logits)
  wide = np.asarray(logits, np.float64)
  expected = np.log(np.exp(wide).sum()) - wide.mean()
  assert found.dtype == jnp.float32
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_step_weights_by_hand():
  """MuZero: the root counts 1 and the k later steps 1/k each. EfficientZero: every step 1/k."""
  np.testing.assert_allclose(common.step_weights(4, "root"), [1, 0.25, 0.25, 0.25, 0.25])
  np.testing.assert_allclose(common.step_weights(4, "equal"), [0.25, 0.25, 0.25, 0.25, 0.25])
  for kind in ("root", "equal"):
    np.testing.assert_allclose(common.step_weights(1, kind), [1, 1])


def test_value_loss_by_hand():
  """The root counts 1, each of the k = 2 steps 1/2."""
  # Bin 0 costs ln 2, bins 1 and 2 cost 2 ln 2: (1 + (2 + 1)/2) ln 2 and (2 + (1 + 2)/2) ln 2.
  np.testing.assert_allclose(
    loss(muzero.value, targets(2, 2, value=[[0, 1, 0], [2, 0, 1]])),
    [2.5 * LN2, 3.5 * LN2],
    rtol=1e-6,
  )


def test_value_loss_with_equal_steps():
  """Every step counts 1/2: (1 + 2 + 1)/2 ln 2 and (2 + 1 + 2)/2 ln 2. It is not the default."""
  made, equal = (
    targets(2, 2, value=[[0, 1, 0], [2, 0, 1]]),
    functools.partial(muzero.value, steps="equal"),
  )
  np.testing.assert_allclose(loss(equal, made), [2 * LN2, 2.5 * LN2], rtol=1e-6)


def test_policy_loss_with_equal_steps():
  """At the root -ln 3/4 or -ln 1/4, later ln 2 each: half of all of it."""
  made = targets(2, 2, policy=[[[1, 0], [1, 0], [0.5, 0.5]], [[0, 1], [1, 0], [0, 1]]])
  equal = functools.partial(muzero.policy, steps="equal")
  np.testing.assert_allclose(loss(equal, made), [np.log(4 / 3) / 2 + LN2, LN2 + LN2], rtol=1e-6)


def test_reward_loss_by_hand():
  """Each of the k rewards counts 1/k; there is none at the root."""
  # (1 + 2)/2 ln 2; (2 + 2)/2 ln 2.
  np.testing.assert_allclose(
    loss(muzero.reward, targets(2, 2, reward=[[0, 1], [2, 1]])), [1.5 * LN2, 2 * LN2], rtol=1e-6
  )


def test_policy_loss_by_hand():
  made = targets(2, 2, policy=[[[1, 0], [1, 0], [0.5, 0.5]], [[0, 1], [1, 0], [0, 1]]])
  # At the root -ln 3/4 or -ln 1/4; each later step costs ln 2, counted 1/2.
  np.testing.assert_allclose(
    loss(muzero.policy, made), [np.log(4 / 3) + LN2, 2 * LN2 + LN2], rtol=1e-6
  )


def test_masked_policy_after_the_end():
  """After the end of an episode there is no policy loss."""
  made = targets(2, 2, policy=[[[1, 0], [1, 0], [1, 0]]] * 2, policy_mask=[[1, 1, 0], [1, 0, 0]])
  np.testing.assert_allclose(
    loss(muzero.policy, made), [np.log(4 / 3) + LN2 / 2, np.log(4 / 3)], rtol=1e-6
  )


def test_absorbing_states_are_learned():
  """After the end, value and reward targets of 0 are learned, and no policy; the terminal reward is
  learned.
  """
  made = targets(
    1, 2, value=[[2, 0, 0]], reward=[[1, 0]], policy_mask=[[1, 0, 0]], target_mask=[[1, 1, 1]]
  )
  np.testing.assert_allclose(loss(muzero.value, made), [(2 + (1 + 1) / 2) * LN2], rtol=1e-6)
  np.testing.assert_allclose(loss(muzero.reward, made), [(2 + 1) / 2 * LN2], rtol=1e-6)


def test_nothing_is_learned_behind_a_truncation():
  """Truncated is not terminated: what follows it is unknown, and costs nothing. The reward into the
  cut-off step is learned.
  """
  made = targets(
    1, 2, value=[[2, 1, 0]], reward=[[1, 0]], policy_mask=[[1, 1, 0]], target_mask=[[1, 1, 0]]
  )
  np.testing.assert_allclose(loss(muzero.value, made), [(2 + 2 / 2) * LN2], rtol=1e-6)
  np.testing.assert_allclose(loss(muzero.reward, made), [2 / 2 * LN2], rtol=1e-6)


def test_masked_steps_have_no_gradient():
  """No gradient flows from a step that is masked."""
  made = targets(1, 2, policy_mask=[[1, 0, 0]], target_mask=[[1, 1, 0]])

  def total(logits, term, name):
    return (
      term(one_hot_model()).loss({}, dataclasses.replace(context(made), **{name: logits})).sum()
    )

  for term, name, learned in (
    (muzero.value, "value_logits", [True, True, False]),
    (muzero.policy, "policy_logits", [True, False, False]),
    (muzero.reward, "reward_logits", [True, False]),
  ):
    gradient = jax.grad(total)(
      jax.random.normal(jax.random.key(0), getattr(context(made), name).shape), term, name
    )
    assert np.abs(gradient).sum((0, 2)).astype(bool).tolist() == learned


def test_muzero_terms_have_no_parameters(key):
  for term in (muzero.reward, muzero.value, muzero.policy):
    assert term(one_hot_model()).init(key) == {}


# Consistency. Frames are vectors; the encoder multiplies the flattened stack by the parameter.

STACK, UNROLL, FEATURES, WIDTH = 2, 2, 3, 8
HIDDEN = jax.ShapeDtypeStruct((1, STACK * FEATURES), jnp.float32)


def flatten(params, frames):
  return params * frames.reshape(frames.shape[0], -1)


def example(size, first=()):
  """Frames of steps t-1 .. t+2 (S + k of them); `first` names steps t+i."""
  random = np.random.default_rng(0)
  flags = np.isin(np.arange(1 - STACK, UNROLL + 1), first)
  return filled(
    Example,
    None,
    frames=jnp.asarray(random.normal(size=(size, STACK + UNROLL, FEATURES)), jnp.float32),
    first=jnp.asarray(np.tile(flags, (size, 1))),
  )


def views(one):
  """What the encoder sees at t .. t+k, written out: the frames before and of the step, the first
  frame repeated at a start.
  """
  stacks = []
  for i in range(UNROLL + 1):
    before, now = one.frames[:, i], one.frames[:, i + 1]
    stacks.append(
      jnp.where(
        one.first[:, i + 1, None],
        jnp.concatenate([now, now], -1),
        jnp.concatenate([before, now], -1),
      )
    )
  return jnp.stack(stacks, 1)


def consistency_term():
  return consistency(one_hot_model(flatten), STACK, HIDDEN, WIDTH)


@pytest.fixture(scope="module")
def plain():
  """The term with the identity for a predictor, so that both sides pass the same projector; its
  parameters, its compiled loss.
  """

  class Identity(nn.Module):
    width: int

    def __call__(self, x, weight):
      return x

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(consistency_module, "Predictor", Identity)
    term = consistency_term()
  params = {"model": jnp.float32(1), "consistency": jax.jit(term.init)(jax.random.key(0))}
  return term, params, jax.jit(term.loss)


@pytest.fixture(scope="module")
def full():
  """The term as it is, its own parameters, and the gradient of its loss by the encoder, its
  parameters and the hidden states.
  """
  term = consistency_term()

  def total(encoder, own, hidden, one, made):
    return term.loss(
      {"model": encoder, "consistency": own}, context(made, example=one, hidden=hidden)
    ).sum()

  return term, jax.jit(term.init)(jax.random.key(0)), jax.jit(jax.value_and_grad(total, (0, 1, 2)))


def consistency_loss(plain, hidden, one, **masks):
  _, params, loss = plain
  return np.asarray(
    loss(params, context(targets(hidden.shape[0], UNROLL, **masks), example=one, hidden=hidden))
  )


def test_equal_views_are_minus_one(plain):
  """Unrolled hidden states that are what the encoder sees at t+1 .. t+k cost -1 through identical
  projections.
  """
  one = example(3)
  np.testing.assert_allclose(consistency_loss(plain, views(one), one), [-1, -1, -1], rtol=1e-5)


def test_views_are_those_of_the_same_step(plain):
  """The hidden state unrolled i steps is compared with the view of t+i: one step off is not -1."""
  one = example(3)
  assert (consistency_loss(plain, jnp.roll(views(one), 1, 1), one) > -0.95).all()
  assert (consistency_loss(plain, jnp.roll(views(one), -1, 1), one) > -0.95).all()


def test_root_is_not_compared(plain):
  one = example(3)
  np.testing.assert_allclose(
    consistency_loss(plain, views(one).at[:, 0].set(9.0), one), [-1, -1, -1], rtol=1e-5
  )


def test_views_stack_as_acting_does(plain):
  """A frame stack never reaches across a reset, nor does a view's."""
  one = example(3, first=[1])
  np.testing.assert_allclose(consistency_loss(plain, views(one), one), [-1, -1, -1], rtol=1e-5)


def test_consistency_is_masked_after_the_end(key, plain):
  """After the end there is no consistency loss: k = 2 steps count 1/2 each while their policy mask
  is 1, and hold no gradient else.
  """
  one = example(3)
  policy_mask = [[1, 1, 1], [1, 1, 0], [1, 0, 0]]
  np.testing.assert_allclose(
    consistency_loss(plain, views(one), one, policy_mask=policy_mask), [-1, -0.5, 0], rtol=1e-5
  )
  term, params, _ = plain
  made = targets(3, UNROLL, policy_mask=policy_mask)
  wrong = views(one) + jax.random.normal(key, (3, UNROLL + 1, STACK * FEATURES))
  gradient = jax.grad(
    lambda hidden: term.loss(params, context(made, example=one, hidden=hidden)).sum()
  )(wrong)
  moved = np.abs(gradient).max(-1) > 0
  np.testing.assert_array_equal(
    moved, [[False, True, True], [False, True, False], [False, False, False]]
  )


def batch_norm(x, p):
  return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * p["scale"] + p["bias"]


def dense(x, p):
  return x @ p["kernel"] + p["bias"]


def by_numpy(own, one, hidden):
  """The loss in float64 numpy: project both, in three layers, predict one, negative cosine, mean
  over steps."""
  own = jax.tree.map(lambda x: np.asarray(x, np.float64), own)
  projector, predictor = own["projector"]["params"], own["predictor"]["params"]

  def project(x):
    for i in (0, 1):
      x = np.maximum(batch_norm(dense(x, projector[f"Dense_{i}"]), projector[f"BatchNorm_{i}"]), 0)
    return batch_norm(dense(x, projector["Dense_2"]), projector["BatchNorm_2"])

  rows = (-1, STACK * FEATURES)  # the batch is all later steps of all examples
  target = project(np.asarray(views(one)[:, 1:], np.float64).reshape(rows))
  x = project(np.asarray(hidden[:, 1:], np.float64).reshape(rows))
  narrow, wide = sorted(
    (predictor["Dense_0"], predictor["Dense_1"]), key=lambda p: p["bias"].size
  )  # the bottleneck comes first
  x = dense(np.maximum(batch_norm(dense(x, narrow), predictor["BatchNorm_0"]), 0), wide)
  norms = np.linalg.norm(x, axis=-1) * np.linalg.norm(target, axis=-1)
  # A prediction can be all zeros, as narrow as the layers are here; its similarity is 0.
  return -((x * target).sum(-1) / np.maximum(norms, 1e-12)).reshape(-1, UNROLL).mean(1)


def test_batch_norm_by_hand():
  """Rows that count: 1 and 3, mean 2 and standard deviation 1; and a unit that is 5 in both, which
  becomes 0. The third row counts for nothing, and is measured by the others: 102 - 2 = 100. Then
  times the scale 2, plus the bias 7."""
  x = jnp.array([[1.0, 5.0], [3.0, 5.0], [102.0, 5.0]])
  params = {"params": {"scale": jnp.full(2, 2.0), "bias": jnp.full(2, 7.0)}}
  found = consistency_module.BatchNorm().apply(params, x, jnp.array([1.0, 1.0, 0.0]))
  np.testing.assert_allclose(found, [[5, 7], [9, 7], [207, 7]], rtol=1e-4)
  nothing = consistency_module.BatchNorm().apply(params, x, jnp.zeros(3))
  assert np.isfinite(nothing).all()


def test_masked_steps_move_nothing(full):
  """What stands behind the end of an episode changes no other step's loss, not even by the batch's
  mean."""
  one, (term, own, _) = example(3), full
  params = {"model": jnp.float32(1), "consistency": own}
  made = targets(3, UNROLL, policy_mask=[[1, 1, 1], [1, 1, 0], [1, 0, 0]])
  hidden = jax.random.normal(jax.random.key(1), (3, UNROLL + 1, STACK * FEATURES))
  loss = jax.jit(lambda one, hidden: term.loss(params, context(made, example=one, hidden=hidden)))
  elsewhere = dataclasses.replace(one, frames=one.frames.at[1, -1].add(50.0).at[2, -2:].add(-50.0))
  found = loss(elsewhere, hidden.at[1, 2].add(50.0).at[2, 1:].add(-50.0))
  np.testing.assert_allclose(found, loss(one, hidden), rtol=1e-4, atol=1e-6)
  assert found[2] == 0


def test_projections_are_those_of_efficientzero():
  """A projector of three layers of 1024, each with the scale and bias of a batch norm, and a
  predictor through 512."""
  term = consistency(one_hot_model(flatten), STACK, HIDDEN)
  shapes = jax.tree.map(
    lambda x: x.shape,
    jax.eval_shape(term.init, jax.random.key(0)),
    is_leaf=lambda x: hasattr(x, "shape"),
  )

  def of(part, kind, name):
    layers = shapes[part]["params"]
    return sorted(layer[name] for label, layer in layers.items() if label.startswith(kind))

  assert of("projector", "Dense", "kernel") == [(6, 1024), (1024, 1024), (1024, 1024)]
  assert (
    of("projector", "BatchNorm", "scale") == of("projector", "BatchNorm", "bias") == [(1024,)] * 3
  )
  assert of("predictor", "Dense", "kernel") == [(512, 1024), (1024, 512)]
  assert of("predictor", "BatchNorm", "scale") == [(512,)]


def test_consistency_agrees_with_numpy(key, full):
  one, (term, own, _) = example(3), full
  hidden = jax.random.normal(key, (3, UNROLL + 1, STACK * FEATURES))
  params = {"model": jnp.float32(1), "consistency": own}
  found = jax.jit(term.loss)(params, context(targets(3, UNROLL), example=one, hidden=hidden))
  np.testing.assert_allclose(found, by_numpy(own, one, hidden), rtol=1e-4, atol=1e-5)


def test_target_side_carries_no_gradient(key, full):
  """Stop-gradient on the target side: nothing flows into the encoder through the later views, all
  through the unrolled hidden states.
  """
  one, made, (_, own, gradients) = example(3), targets(3, UNROLL), full
  hidden = jax.random.normal(key, (3, UNROLL + 1, STACK * FEATURES))
  value, (encoder, parameters, hidden_states) = gradients(jnp.float32(1.5), own, hidden, one, made)
  assert encoder == 0
  assert gradients(jnp.float32(-1.5), own, hidden, one, made)[0] != value
  assert (np.abs(hidden_states[:, 1:]).max(-1) > 0).all() and not hidden_states[:, 0].any()
  assert any(bool(jnp.any(x != 0)) for x in jax.tree.leaves(parameters["predictor"]))


def test_projector_learns_from_the_unrolled_side_only(key, plain):
  """Stop-gradient on the target side holds for the projector too: its gradient is that with the
  target's projector held fixed.
  """
  one, (term, params, _) = example(2), plain
  own = params["consistency"]["projector"]
  hidden = jax.random.normal(key, (2, UNROLL + 1, STACK * FEATURES))

  def total(own):
    params = {"model": jnp.float32(1), "consistency": {"projector": own, "predictor": {}}}
    return term.loss(params, context(targets(2, UNROLL), example=one, hidden=hidden)).sum()

  project = consistency_module.Projector(WIDTH).apply
  later = views(one)[:, 1:].reshape(-1, STACK * FEATURES)

  def half(moving, fixed):
    ones = jnp.ones(2 * UNROLL)
    x, y = (
      project(moving, hidden[:, 1:].reshape(-1, STACK * FEATURES), ones),
      project(fixed, later, ones),
    )
    cosine = (x * y).sum(-1) / (jnp.linalg.norm(x, axis=-1) * jnp.linalg.norm(y, axis=-1))
    return -cosine.reshape(2, UNROLL).mean(1).sum()

  expected = jax.jit(jax.grad(half))(own, own)
  found = jax.jit(jax.grad(total))(own)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), found, expected)


def test_constant_hidden_states_give_no_nan(full):
  """A constant hidden state gives no NaN: it is scaled to zeros, and the similarity of a zero
  vector has a finite gradient.
  """
  _, own, gradients = full
  value, found = gradients(
    jnp.float32(1),
    own,
    jnp.zeros((3, UNROLL + 1, STACK * FEATURES)),
    example(3),
    targets(3, UNROLL),
  )
  assert np.isfinite(value)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))


def test_masked_constant_hidden_states_give_no_nan(full):
  """A masked step cannot spoil the gradient of the others: its hidden state may be anything,
  constant too.
  """
  one, (_, own, gradients) = example(3), full
  hidden = views(one).at[:, 2].set(0.0)
  _, found = gradients(
    jnp.float32(1), own, hidden, one, targets(3, UNROLL, policy_mask=[[1, 1, 0]] * 3)
  )
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))


def played(action, log_prob, last=False):
  """An example of which only this is looked at."""
  return filled(
    Example,
    None,
    action=jnp.asarray(action),
    log_prob=jnp.log(jnp.asarray(log_prob)),
    last=jnp.broadcast_to(jnp.asarray(last), jnp.shape(action)),
  )


def gain(made, example):
  return -np.asarray(policy_gradient(one_hot_model()).loss({}, context(made, example=example)))


def test_policy_gradient_by_hand():
  """k = 1; values are predicted as 0. Advantages 1, -1 and 3, 1: mean 1, standard deviation
  sqrt(2). Ratios: at the roots 0.75 / 0.6 = 1.25, of which 1.2 count for a good action, and 0.25 /
  0.5, which counts in full; after them 1.
  """
  example = played([[0, 1, 1], [1, 0, 1]], [[0.6, 0.5, 0.1], [0.5, 0.5, 0.1]])
  made = targets(2, 1, value=[[1.0, -1.0], [3.0, 1.0]])
  expected = np.array([1.2 * 1 - 1, 0.5 * 3 + 1]) / (np.sqrt(2) + 1e-3)
  np.testing.assert_allclose(gain(made, example), expected, rtol=1e-5)


def test_policy_gradient_of_bad_actions():
  """Advantages of -2 everywhere; to have a spread, one of 2. A bad action's ratio counts in full
  above, and at least 0.8 below.
  """
  example = played([[0, 0], [1, 0]], [[0.6, 0.5], [0.5, 0.5]])
  made = targets(2, 1, value=[[-2.0, 2.0], [-2.0, -2.0]])
  scale = np.std([-2, 2, -2, -2]) + 1e-3
  np.testing.assert_allclose(gain(made, example) * scale, [1.25 * -2 + 2, 0.8 * -2 - 2], rtol=1e-5)


@pytest.mark.parametrize(("behavior", "ratio"), [(0.75 / 1000, 3.0), (0.3, 2.5)])
def test_policy_gradient_of_a_bad_action_is_bounded(behavior, ratio):
  """A bad action that the policy now takes 1000 times as often counts 3 times, and no more is
  learned of it; 2.5 counts in full. The first root's action has a probability of 3/4 and an
  advantage of -2; the other ratios are 1, 0.5 and 1."""
  example = played([[0, 0], [1, 0]], [[behavior, 0.5], [0.5, 0.5]])
  made = targets(2, 1, value=[[-2.0, 2.0], [-2.0, -2.0]])
  scale = np.std([-2, 2, -2, -2]) + 1e-3
  np.testing.assert_allclose(gain(made, example) * scale, [ratio * -2 + 2, 0.8 * -2 - 2], rtol=1e-5)
  before = context(made, example=example)

  def total(policy_logits):
    return (
      policy_gradient(one_hot_model())
      .loss({}, dataclasses.replace(before, policy_logits=policy_logits))
      .sum()
    )

  gradient = np.abs(jax.grad(total)(before.policy_logits)).max(-1)
  assert (gradient[0, 0] == 0) == (ratio == 3)
  assert gradient[0, 1] > 0.1


def test_policy_gradient_of_a_good_action_is_bounded():
  """As ever: the policy takes it 1000 times as often, and it counts 1.2 times. Advantages of 2 and
  -2: standard deviation 2."""
  found = gain(targets(1, 1, value=[[2.0, -2.0]]), played([[0, 0]], [[0.75 / 1000, 0.5]]))
  np.testing.assert_allclose(found, [(1.2 * 2 - 2) / 2.001], rtol=1e-4)


@pytest.mark.parametrize(("steps", "expected"), [("root", 2.0), ("equal", 1.5)])
def test_policy_gradient_weighs_steps(steps, expected):
  """k = 2, all ratios 1, advantages 1, -1, 3: 1 - 1/2 + 3/2 or 1/2 - 1/2 + 3/2. Their variance is
  (0 + 4 + 4)/3."""
  before = context(
    targets(1, 2, value=[[1.0, -1.0, 3.0]]), example=played([[0, 0, 0]], [[0.75, 0.5, 0.5]])
  )
  found = -policy_gradient(one_hot_model(), steps=steps).loss({}, before)
  np.testing.assert_allclose(found, [expected / (np.sqrt(8 / 3) + 1e-3)], rtol=1e-5)


def test_policy_gradient_leaves_out_what_is_behind_the_end():
  example = played([[0, 0], [0, 0]], [[0.75, 0.5], [0.75, 0.5]])
  made = targets(2, 1, value=[[1.0, 50.0], [-1.0, 0.0]], policy_mask=[[1, 0], [1, 0]])
  np.testing.assert_allclose(gain(made, example), np.array([1, -1]) / 1.001, rtol=1e-5)


def test_policy_gradient_leaves_out_an_episodes_last_step():
  """A time limit's last step is a state with a value, but what was sent there led nowhere."""
  example = played([[0, 0], [0, 0]], [[0.75, 0.5], [0.75, 0.5]], [[False, True], [False, True]])
  made = targets(2, 1, value=[[1.0, 50.0], [-1.0, 0.0]])
  np.testing.assert_allclose(gain(made, example), np.array([1, -1]) / 1.001, rtol=1e-5)


def test_policy_gradient_moves_the_policy_only():
  """The advantage carries no gradient: it would make the value worse on purpose."""
  example, made = played([[0, 0]], [[0.75, 0.5]]), targets(1, 1, value=[[1.0, -1.0]])
  model = one_hot_model()._replace(decode=lambda logits: logits.sum(-1))
  before = context(made, example=example)

  def total(policy_logits, value_logits):
    return (
      policy_gradient(model)
      .loss({}, dataclasses.replace(before, policy_logits=policy_logits, value_logits=value_logits))
      .sum()
    )

  policy, value = jax.grad(total, argnums=(0, 1))(before.policy_logits, before.value_logits)
  assert np.abs(policy).max() > 0.01
  np.testing.assert_array_equal(value, np.zeros(value.shape))


def test_normalize_by_hand():
  """Where the mask is 1: 1 and 5, standard deviation 2. Nothing to divide by is no error."""
  np.testing.assert_allclose(
    normalize(jnp.array([[1.0, 9.0, 5.0]]), jnp.array([[1, 0, 1.0]])),
    np.array([[1, 9, 5]]) / 2.001,
    rtol=1e-6,
  )
  assert np.isfinite(normalize(jnp.ones((1, 2)), jnp.zeros((1, 2)))).all()
