"""What returns bootstrap from, with a model that reads its value off the frames."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.targets import policy
from muzero_jax.targets.bootstrap import Searched, TargetNetwork, recorded
from muzero_jax.targets.maker import TargetMaker
from muzero_jax.targets.returns import Returns
from tests import builders
from tests.fakes import DIGITS as MODEL

STACK, UNROLL, N = 3, 2, 2
LENGTH = UNROLL + N + 1  # steps t .. t+4


def example(*, last=(), first=(), discount=(), stack=STACK, unroll=UNROLL, n=N, reward=0):
  """Frames show 1, 2, 3 ...: step t shows 3. `last`, `first` and `discount` (of 0) name steps t+i;
  recorded values are 1000 + i.
  """
  length = unroll + n + 1
  at = np.arange(length)
  return builders.example(
    unroll=unroll,
    n_step=n,
    frames=jnp.asarray(np.arange(1, stack + length)[:, None], jnp.uint8),
    first=np.isin(np.arange(1 - stack, length), first),
    reward=reward,
    discount=~np.isin(at[1:], discount),
    last=np.isin(at, last),
    value=1000 + at,
  )


def batch(*examples):
  return jax.tree.map(lambda *x: jnp.stack(x), *examples)


def network(every_step=False):
  return TargetNetwork(MODEL, STACK, UNROLL, N, every_step)


def values(one, every_step=False, params=1.0):
  return np.asarray(network(every_step)(jnp.float32(params), batch(one)))[0]


def test_recorded_values_are_those_of_the_replay():
  np.testing.assert_array_equal(
    recorded({}, batch(example(), example())), [[1000, 1001, 1002, 1003, 1004]] * 2
  )


def test_values_where_returns_end():
  """With n = 2, only the steps t+2, t+3, t+4 are bootstrapped from; each has the value of its own
  stack.
  """
  # Step t shows 3, so the stack of t+2 is 3 4 5, and so on.
  np.testing.assert_array_equal(values(example()), [0, 0, 345, 456, 567])


def test_values_of_every_step_for_a_trace_below_one():
  np.testing.assert_array_equal(values(example(), every_step=True), [123, 234, 345, 456, 567])


def test_values_are_the_given_parameters():
  """Bootstraps come from the parameters handed in: the target network's."""
  np.testing.assert_array_equal(values(example(), params=2.0), [0, 0, 690, 912, 1134])


def test_truncation_bootstraps_from_its_own_value():
  """Truncated is not terminated: where a step is the last, its own value is evaluated instead of
  one n steps on.
  """
  # t+3 is cut off: returns from t+1, t+2 end there; the one from t ends in t+2.
  np.testing.assert_array_equal(values(example(last=[3], first=[4])), [0, 0, 345, 456, 0])


def test_end_right_after_the_root():
  """Returns from t and t+1 end in t+1; that of t+2 belongs to the next episode and is masked,
  whatever it is.
  """
  found = values(example(last=[1], first=[2]))
  assert found[0] == 0 and found[1] == 234 and found[3] == 0


def test_stack_never_reaches_across_a_reset():
  """A frame stack never reaches across a reset; before the S-th frame of an episode the first frame
  is repeated.
  """
  # t-1 begins the episode: it shows 2, so t sees 2 2 3. The next episode begins at t+2 with frame
  # 5: 5 5 5, 5 5 6, 5 6 7.
  found = values(example(first=[-1, 2], last=[1]), every_step=True)
  np.testing.assert_array_equal(found, [223, 234, 555, 556, 567])


def test_first_frame_is_repeated_at_an_episodes_start():
  """Before the S-th frame of an episode the first frame is repeated: where the example itself
  begins the episode.
  """
  np.testing.assert_array_equal(
    values(example(first=[0]), every_step=True), [333, 334, 345, 456, 567]
  )


def test_life_loss_does_not_cut_the_stack():
  """Life loss may end the discount but not the episode: the frame stack goes on."""
  np.testing.assert_array_equal(
    values(example(discount=[2]), every_step=True), [123, 234, 345, 456, 567]
  )


def test_batch_elements_are_independent():
  one, other = example(), example(last=[3], first=[4])
  found = network()(jnp.float32(1), batch(one, other))
  np.testing.assert_array_equal(found, [[0, 0, 345, 456, 567], [0, 0, 345, 456, 0]])


def maker(every_step, td_lambda=1.0):
  return TargetMaker(
    network(every_step), policy.recorded, Returns(N, 0.5, td_lambda, clip_rewards=False), UNROLL
  )


def test_targets_from_the_target_network(key):
  """Values of the network stand at the right steps of the return, in an episode that goes on, ends,
  or is cut off.
  """
  reward = [1, 2, 4, 8]
  examples = batch(
    example(reward=reward),
    example(reward=reward, last=[2], discount=[2], first=[3]),
    example(reward=reward, last=[2], first=[3]),
  )
  found = maker(every_step=False)(jnp.float32(1), key, examples)
  # On: 1 + 2/2 + 345/4, 2 + 4/2 + 456/4, 4 + 8/2 + 567/4. Ended at t+2: 1 + 2/2, 2, 0.
  # Cut off there: 1 + 2/2 + 345/4, 2 + 345/2, 345.
  np.testing.assert_array_equal(found.value, [[88.25, 118, 149.75], [2, 2, 0], [88.25, 174.5, 345]])


def test_values_of_a_new_search():
  """A search that finds ten times the network's value, at the steps where returns end; its random
  numbers change with the gradient step.
  """
  draws = []

  def search(params, key, root):
    draws.append(float(jax.random.uniform(key)))
    return SimpleNamespace(value=10 * root.value)

  model = MODEL._replace(encode=lambda params, frames: MODEL.encode(jnp.float32(1), frames))
  network = TargetNetwork(model, STACK, UNROLL, N, False, estimate=Searched(search))
  for step in (7, 7, 8):
    (one,) = network({"step": jnp.int32(step)}, batch(example(last=[1])))
    # The episode ends at t+1, so that t and t+1 bootstrap there, and t+2 from t+4.
    np.testing.assert_array_equal(one, [0, 2340, 0, 0, 5670])
  assert draws[0] == draws[1] != draws[2]


def test_trace_below_one_uses_the_values_in_between(key):
  found = maker(every_step=True, td_lambda=0.5)(
    jnp.float32(1), key, batch(example(reward=[1, 2, 4, 8]))
  )
  # 1 + (234/2 + (2 + 345/2)/2)/2 = 1 + (117 + 87.25)/2; 2 + (345/2 + (4 + 456/2)/2)/2 = 2 + (172.5
  # + 116)/2; 4 + (456/2 + (8 + 567/2)/2)/2 = 4 + (228 + 145.75)/2.
  np.testing.assert_array_equal(found.value, [[103.125, 146.25, 190.875]])


@pytest.mark.parametrize("end", [None, 1, 2, 3, 4])
@pytest.mark.parametrize("terminal", [True, False])
def test_steps_left_out_are_not_needed(key, end, terminal):
  """Evaluating only the steps in which returns end gives the same targets as evaluating all,
  wherever the episode ends.
  """
  ends = (
    {} if end is None else dict(last=[end], first=[end + 1], discount=[end] if terminal else [])
  )
  examples = batch(example(reward=[1, 2, 4, 8], **ends))
  some, everything = (maker(every)(jnp.float32(1), key, examples) for every in (False, True))
  np.testing.assert_array_equal(
    some.value * some.target_mask, everything.value * everything.target_mask
  )
  np.testing.assert_array_equal(some.policy_mask, everything.policy_mask)


def test_nothing_of_the_next_episode_leaks(key):
  """Nothing of the next episode leaks into an example: its frames change no target that counts."""
  for end in (1, 2, 3):
    one = example(reward=[1, 2, 4, 8], last=[end], first=[end + 1])
    later = np.arange(1 - STACK, LENGTH) > end
    other = dataclasses.replace(one, frames=jnp.where(later[:, None], jnp.uint8(9), one.frames))
    found = maker(False)(jnp.float32(1), key, batch(one, other))
    counted = found.value * found.target_mask
    np.testing.assert_array_equal(counted[0], counted[1])


def test_target_network_carries_no_gradient(key):
  """The target network carries no gradient."""

  def total(params):
    return jnp.sum(maker(False)(params, key, batch(example())).value)

  assert total(jnp.float32(2)) != total(jnp.float32(1))
  assert jax.grad(total)(jnp.float32(1)) == 0


def test_stale_examples_bootstrap_earlier():
  """n = 2, one step fewer for every 10 gradient steps of age: at 10, steps t+1, t+2 and t+3 are
  what the returns end in.
  """
  stale = dataclasses.replace(network(), stale_after=10)
  old = dataclasses.replace(example(), age=jnp.int32(10))
  np.testing.assert_array_equal(
    stale(jnp.float32(1), batch(old, example())), [[0, 234, 345, 456, 0], [0, 0, 345, 456, 567]]
  )
  maker = TargetMaker(stale, policy.recorded, Returns(N, 0.5, stale_after=10), UNROLL)
  np.testing.assert_allclose(
    maker(jnp.float32(1), jax.random.key(0), batch(old, example())).value,
    [[117, 172.5, 228], [86.25, 114, 141.75]],
  )
