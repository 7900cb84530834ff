"""The autoencoder, worked by hand, and its schedule."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax import build
from muzero_jax.envs.base import Spec
from muzero_jax.losses.reconstruction import reconstruction
from muzero_jax.losses.schedule import during
from muzero_jax.types import Context, Term
from tests import builders
from tests.fakes import DIGITS as MODEL

UNROLL, STACK = 1, 2
HIDDEN = jax.ShapeDtypeStruct((1, 3), jnp.float32)


def context(frames, policy_mask: Any = 1.0):
  """Frames [N, S+E] of one pixel each."""
  frames = np.asarray(frames, np.float32)[..., None]
  return builders.filled(
    Context,
    None,
    example=builders.example(len(frames), unroll=UNROLL, stack=STACK, frames=frames),
    targets=builders.targets(len(frames), UNROLL, policy_mask=policy_mask),
    hidden=jnp.ones((len(frames), UNROLL + 1, 3)),
  )


def loss(one, shown=0.0):
  """Of a decoder that shows a pixel of this value, less the mean, whatever the hidden state."""
  term = reconstruction(MODEL, STACK, HIDDEN, 1, width=4)

  @jax.jit
  def of(bias):
    params = term.init(jax.random.key(0))
    params["decoder"]["params"]["Dense_1"]["bias"] = bias
    return term.loss({"reconstruction": params}, one)

  return of(jnp.full(1, shown))


def test_share_of_the_variance_by_hand():
  """The newest frames are 1 and 3, 5 and 7: mean 4, variance 5. At first the decoder shows the
  mean, with errors (9 + 1)/2 and (1 + 9)/2, divided by 5. One that shows 6 has (25 + 9)/2 and
  (1 + 1)/2. The oldest frame, 99, is not shown.
  """
  one = context([[99, 1, 3], [99, 5, 7]])
  np.testing.assert_allclose(loss(one), [1, 1], rtol=1e-6)
  np.testing.assert_allclose(loss(one, shown=2.0), [17 / 5, 1 / 5], rtol=1e-6)


def test_absorbing_states_do_not_count():
  """Of 1, 5 and 7 the mean is 13/3 and the variance 56/9; the last frame, 1000, is absorbing."""
  one = context([[99, 1, 1000], [99, 5, 7]], policy_mask=[[1, 0], [1, 1]])
  by_hand = np.array([(10 / 3) ** 2, (2 / 3) ** 2 + (8 / 3) ** 2]) / 2 / (56 / 9)
  np.testing.assert_allclose(loss(one), by_hand, rtol=1e-5)


def test_frames_without_variance_are_finite():
  np.testing.assert_array_equal(loss(context([[5, 5, 5]])), [0])


@pytest.mark.parametrize(
  ("begin", "end", "counted"),
  [(0, 0, [7, 7, 7, 7]), (2, 0, [0, 0, 7, 7]), (0, 2, [7, 7, 0, 0]), (1, 3, [0, 7, 7, 0])],
)
def test_a_term_counts_from_its_begin_and_before_its_end(begin, end, counted):
  term = during(Term(lambda key: {}, lambda params, one: jnp.full(1, 7.0)), begin, end)
  found = [
    float(term.loss({}, builders.filled(Context, None, step=jnp.int32(step)))[0])
    for step in range(4)
  ]
  assert found == counted


def test_the_autoencoder_learns_alone_before_the_rest(make_config):
  """For 5 steps only the reconstruction counts, and it ends after 9; short_value begins late."""
  config = make_config(
    loss__reconstruction=1.0,
    loss__reconstruction_until=9,
    loss__pretrain=5,
    loss__short_value=1.0,
  )
  terms = {name: (1.0, Term(lambda key: {}, lambda params, one: jnp.ones(1))) for name in "ab"}
  terms["reconstruction"] = terms["a"]
  counted = [
    {
      name
      for name, (_, term) in build.scheduled(config, terms).items()
      if term.loss({}, builders.filled(Context, None, step=jnp.int32(step)))[0]
    }
    for step in (4, 5, 9)
  ]
  assert counted == [{"reconstruction"}, {"a", "b", "reconstruction"}, {"a", "b"}]
  assert build.scheduled(make_config(), terms) == terms  # the very same: nothing is wrapped


def always(model):
  return Term(lambda key: {}, lambda params, one: jnp.ones(1))


def test_a_term_of_one_s_own_does_not_count_before_the_rest_either(make_config):
  config = make_config(
    loss__reconstruction=1.0,
    loss__pretrain=5,
    loss__custom="tests.losses.reconstruction_test:always=2",
  )
  weight, term = build.build(config).loop.learner.terms["always"]
  assert weight == 2
  for step, counted in ((4, 0), (5, 1)):
    assert term.loss({}, builders.filled(Context, None, step=jnp.int32(step)))[0] == counted


def test_the_replay_holds_the_frames_to_be_shown(make_config):
  spec = Spec(num_envs=2, num_actions=3, frame_shape=(10, 5), frame_dtype=jnp.uint8)
  for settings in ({"loss__reconstruction": 1.0}, {"log_drift": True}):
    assert build.make_ring(make_config(**settings), spec, 1).later == 2
