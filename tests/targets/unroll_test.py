"""Targets of whole hand-worked episodes: what is learned before, on and after an episode's end."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.targets import bootstrap, policy
from muzero_jax.targets.maker import TargetMaker
from muzero_jax.targets.returns import Returns
from muzero_jax.targets.unroll import masks, reward_and_value
from tests import builders

UNROLL, N = 3, 2
LENGTH = UNROLL + N + 1  # steps t .. t+5
DISCOUNT = 0.5  # every sum below is exact in binary
RETURNS = Returns(n_step=N, discount=DISCOUNT, clip_rewards=False)


def example(reward, value, *, discount=(), last=(), first=(), unroll=UNROLL, stack=1):
  """One example. `discount` names the steps t+i whose discount is 0, `last` and `first` those with
  the flag.
  """
  length = len(value)
  at = np.arange(length)
  return builders.example(
    unroll=unroll,
    n_step=length - unroll - 1,
    frames=jnp.asarray(np.arange(stack + length - 1)[:, None], jnp.uint8),
    first=np.isin(np.arange(1 - stack, length), first),
    reward=reward,
    discount=~np.isin(at[1:], discount),
    last=np.isin(at, last),
    value=value,
  )


@functools.partial(jax.jit, static_argnames=("unroll", "n", "discount", "td_lambda", "clip"))
def targets(one, unroll=UNROLL, n=N, discount=DISCOUNT, td_lambda=1.0, clip=False):
  return reward_and_value(
    one, one.value, unroll=unroll, returns=Returns(n, discount, td_lambda, clip)
  )


def check(found, reward, value, policy_mask, target_mask):
  for name, got, expected in zip(
    ("reward", "value", "policy_mask", "target_mask"),
    found,
    (reward, value, policy_mask, target_mask),
    strict=True,
  ):
    np.testing.assert_array_equal(got, np.array(expected, np.float32), err_msg=name)


# r_{t+1} .. r_{t+5} and v_t .. v_{t+5} of the hand-worked examples: powers of two, so that every
# sum says what is in it.
REWARD = [1, 2, 4, 8, 16]
VALUE = [32, 64, 128, 256, 512, 1024]


def test_alignment_in_mid_episode():
  """The unroll from t predicts k rewards (none at the root), those of the transitions into t+1 ..
  t+k, and k+1 values, each with the full n steps: an example reaches k+n steps ahead.
  """
  found = targets(example(REWARD, VALUE))
  # z_t = 1 + 2/2 + 128/4 = 34; z_{t+1} = 2 + 4/2 + 256/4 = 68; z_{t+2} = 4 + 8/2 + 512/4 = 136;
  # z_{t+3} = 8 + 16/2 + 1024/4 = 272.
  check(found, [1, 2, 4], [34, 68, 136, 272], [1, 1, 1, 1], [1, 1, 1, 1])


def test_full_n_for_every_step_of_the_unroll():
  """The value of step t+i bootstraps with the full n steps for every i in 0..k: from v_{t+i+n} with
  gamma^n, from no other.
  """
  one = example(REWARD, VALUE)
  jacobian = jax.jacobian(lambda v: reward_and_value(one, v, unroll=UNROLL, returns=RETURNS)[1])(
    one.value
  )
  expected = np.zeros((UNROLL + 1, LENGTH))
  for i in range(UNROLL + 1):
    expected[i, i + 2] = 0.25  # 0.5 ** 2
  np.testing.assert_array_equal(jacobian, expected)


def test_rewards_of_every_one_of_the_n_steps_count():
  """The horizon does not shrink: z_{t+i} holds gamma^(j-1) r_{t+i+j} for j = 1 .. n, also for i =
  k.
  """
  one = example(REWARD, VALUE)

  def value(reward):
    changed = dataclasses.replace(one, reward=reward)
    return reward_and_value(changed, one.value, unroll=UNROLL, returns=RETURNS)[1]

  expected = np.zeros((UNROLL + 1, LENGTH - 1))
  for i in range(UNROLL + 1):
    expected[i, i], expected[i, i + 1] = 1, 0.5
  np.testing.assert_array_equal(jax.jacobian(value)(one.reward), expected)


def test_terminal_reward_is_learned():
  """The reward of the terminal transition is learned; masks start on the step after the end, not on
  it. After the end value and reward targets are 0, there is no policy loss, and the targets count:
  absorbing states are learned as absorbing.
  """
  found = targets(example(REWARD, VALUE, discount=[2], last=[2], first=[3]))
  # t+2 is terminal: z_t = 1 + 2/2 = 2, z_{t+1} = 2, then 0. The reward 2 into t+2 is learned; 4 (of
  # the reset) is not.
  check(found, [1, 2, 0], [2, 2, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1])


def test_terminal_transition_right_after_the_root():
  """The terminal reward is learned when it is the first of the unroll; all later states are
  absorbing.
  """
  found = targets(example(REWARD, VALUE, discount=[1], last=[1], first=[2]))
  check(found, [1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1])


def test_terminal_at_the_last_step_of_the_unroll():
  """The terminal reward is learned when it is the last of the unroll."""
  found = targets(example(REWARD, VALUE, discount=[3], last=[3], first=[4]))
  # t+3 is terminal: z_t = 1 + 2/2 + 128/4 = 34; z_{t+1} = 2 + 4/2 = 4 (v_{t+3} has weight 0);
  # z_{t+2} = 4; 0.
  check(found, [1, 2, 4], [34, 4, 4, 0], [1, 1, 1, 0], [1, 1, 1, 1])


def test_terminal_behind_the_unroll_ends_the_returns():
  """Nothing of the next episode leaks into an example, also where the end lies between t+k and
  t+k+n.
  """
  found = targets(
    example([1, 2, 4, 8, 1000], [32, 64, 128, 256, 1000, 1000], discount=[4], last=[4], first=[5])
  )
  # t+4 is terminal: z_{t+1} = 2 + 4/2 + 256/4 = 68; z_{t+2} = 4 + 8/2 = 8; z_{t+3} = 8.
  check(found, [1, 2, 4], [34, 68, 8, 8], [1, 1, 1, 1], [1, 1, 1, 1])


def test_truncated_is_not_terminated():
  """At a time limit the return bootstraps from that step's own value; that step's value is its own;
  nothing counts after it.
  """
  reward, value, policy_mask, target_mask = targets(
    example([1, 2, 0, 1000, 1000], [32, 64, 128, 1000, 1000, 1000], last=[2], first=[3])
  )
  # t+2 is cut off: z_t = 1 + 2/2 + 128/4 = 34; z_{t+1} = 2 + 128/2 = 66; z_{t+2} = v_{t+2} = 128.
  np.testing.assert_array_equal(value[:3], [34, 66, 128])
  np.testing.assert_array_equal(reward[:2], [1, 2])
  np.testing.assert_array_equal(policy_mask, [1, 1, 1, 0])
  np.testing.assert_array_equal(
    target_mask, [1, 1, 1, 0]
  )  # a cut-off state is not absorbing, what follows it was not seen


def test_truncation_behind_the_unroll():
  """Truncated is not terminated, also where the time limit lies between t+k and t+k+n."""
  found = targets(example([1, 2, 4, 8, 1000], [32, 64, 128, 256, 512, 1000], last=[4], first=[5]))
  # t+4 is cut off: z_{t+2} = 4 + 8/2 + 512/4 = 136; z_{t+3} = 8 + 512/2 = 264.
  check(found, [1, 2, 4], [34, 68, 136, 264], [1, 1, 1, 1], [1, 1, 1, 1])


def test_truncation_with_terminal_reset_behind_it():
  """The pair (last, first) is no transition: nothing that follows a truncation makes a state count,
  or absorbing.
  """
  found = targets(example(REWARD, VALUE, discount=[3], last=[1, 3], first=[2, 4]))
  _, value, policy_mask, target_mask = found
  np.testing.assert_array_equal(value[:2], [1 + 64 / 2, 64])
  np.testing.assert_array_equal(policy_mask, [1, 1, 0, 0])
  np.testing.assert_array_equal(target_mask, [1, 1, 0, 0])


def test_life_loss_ends_the_return_without_ending_the_episode():
  """Life loss may end the discount but not the episode: without `last`, a discount of 0 makes what
  follows absorbing.
  """
  found = targets(example(REWARD, VALUE, discount=[2]))
  check(found, [1, 2, 0], [2, 2, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1])


def test_life_loss_inside_the_window_of_returns():
  """A lost life between t+k and t+k+n ends the returns that reach it."""
  found = targets(example(REWARD, VALUE, discount=[4]))
  check(found, [1, 2, 4], [34, 68, 4 + 8 / 2, 8], [1, 1, 1, 1], [1, 1, 1, 1])


def test_truncation_after_a_lost_life_is_absorbed():
  """What is absorbing stays so: a time limit behind a lost life makes nothing unknown."""
  found = targets(example(REWARD, VALUE, discount=[1], last=[2], first=[3]))
  check(found, [1, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1])


def test_example_that_begins_where_a_life_was_lost_is_alive():
  """The discount into the root belongs to the transition before it, and ends nothing of this
  example.
  """
  one = example(REWARD, VALUE)  # the discount into t is not part of an example at all
  assert one.discount.shape == (LENGTH - 1,)
  policy_mask, target_mask = masks(one.discount[:UNROLL], one.last[: UNROLL + 1])
  np.testing.assert_array_equal(policy_mask, np.ones(UNROLL + 1))
  np.testing.assert_array_equal(target_mask, np.ones(UNROLL + 1))


def test_clipping_takes_signs_of_rewards_only():
  """Rewards are learned as signs, in the reward targets and within returns; values are not
  clipped.
  """
  found = targets(example([7, -3, 0, 0.5, -100], VALUE), clip=True)
  # Signs 1, -1, 0, 1, -1: z_t = 1 - 1/2 + 128/4; z_{t+1} = -1 + 0 + 256/4; z_{t+2} = 0 + 1/2 +
  # 512/4; z_{t+3} = 1 - 1/2 + 1024/4.
  check(found, [1, -1, 0], [32.5, 63, 128.5, 256.5], [1, 1, 1, 1], [1, 1, 1, 1])


def test_without_clipping_rewards_are_learned_raw():
  reward, value, _, _ = targets(example([7, -3, 0, 0.5, -100], VALUE))
  np.testing.assert_array_equal(reward, [7, -3, 0])
  np.testing.assert_array_equal(value, [7 - 1.5 + 32, -3 + 0 + 64, 0 + 0.25 + 128, 0.5 - 50 + 256])


def test_discount_is_per_agent_step():
  """Discount is per agent step: gamma is applied once for each of the n steps."""
  found = targets(example([0] * 5, [0, 0, 100, 0, 0, 0]), discount=0.997**4)[1]
  np.testing.assert_allclose(
    found, [97.62505, 0, 0, 0], rtol=1e-6
  )  # 100 * 0.997**8 = 100 * 0.97625050


def test_trace_below_one():
  """TD(lambda) inside the unroll, with the end of an episode in it."""
  found = targets(
    example([1, 2, 4, 8, 16], VALUE, discount=[3], last=[3], first=[4]), td_lambda=0.5
  )[1]
  # z_t = 1 + (64/2 + (2 + 128/2)/2)/2 = 1 + (32 + 33)/2 = 33.5; z_{t+1} = 2 + (128/2 + 4/2)/2 = 35;
  # z_{t+2} = 4; 0.
  np.testing.assert_array_equal(found, [33.5, 35, 4, 0])


def test_whole_episode_from_every_start():
  """A whole game of five transitions, learned from each of its steps: values agree with the game's
  discounted returns.
  """
  # r = 0 1 0 0 -1, terminal at step 5; the next episode's numbers are 99 and must not show. With n
  # = 9 returns are Monte Carlo.
  reward, unroll, n = [0, 1, 0, 0, -1], 2, 9
  # From the end: G_4 = -1; G_3 = -1/2; G_2 = -1/4; G_1 = 1 - 1/8 = 0.875; G_0 = 0.4375; terminal
  # and later 0.
  returns = [0.4375, 0.875, -0.25, -0.5, -1, 0, 0]
  for start in range(5):
    left = 5 - start
    stream = reward[start:] + [99] * (unroll + n - left)
    one = example(
      stream, [99] * (unroll + n + 1), discount=[left], last=[left], first=[left + 1], unroll=unroll
    )
    found = targets(one, unroll=unroll, n=n)
    seen = ([*reward, 0, 0])[start : start + unroll]
    policy_mask = [float(start + i < 5) for i in range(unroll + 1)]
    check(found, seen, returns[start : start + unroll + 1], policy_mask, [1, 1, 1])


# Against a plain-Python reading of the rules, on random streams of steps.


def stream(random, size):
  """Rewards, discounts, first and last flags of consecutive steps; ends are terminations and
  truncations, lives are lost.
  """
  first = last = False
  steps = []
  for t in range(size):
    first = t == 0 or last
    end = not first and random.random() < 0.25
    zero = not first and random.random() < (0.5 if end else 0.15)
    reward = 0.0 if first else float(np.round(random.normal(), 2))
    last = end
    steps.append((reward, 0.0 if zero else 1.0, first, last))
  return [np.array(x) for x in zip(*steps, strict=True)]


def by_the_rules(reward, discount, last, value, start, unroll, n, gamma):
  """What the rules say of the example at `start`: walks from step to step and stops where the
  episode or the return does.
  """
  rewards, values, policy_mask, target_mask = [], [], [], []
  state = "alive"
  for i in range(unroll + 1):
    now = start + i
    if i:
      if state == "alive" and last[now - 1]:
        state = "unknown"  # the step before was cut off
      rewards.append(reward[now] if state == "alive" else 0.0)
      if state == "alive" and discount[now] == 0:
        state = "absorbed"
    policy_mask.append(float(state == "alive"))
    target_mask.append(float(state != "unknown"))
    total, weight, at = 0.0, 1.0, now
    while state == "alive" and at < now + n and not last[at] and weight:
      at += 1
      total += weight * reward[at]
      weight *= gamma * discount[at]
    values.append(total + weight * value[at] if state == "alive" else 0.0)
  return rewards, values, policy_mask, target_mask


def window(reward, discount, first, last, value, start, unroll, n):
  steps = slice(start, start + unroll + n + 1)
  into = slice(start + 1, start + unroll + n + 1)
  base = example(reward[into], value[steps], unroll=unroll)
  return dataclasses.replace(
    base,
    discount=jnp.asarray(discount[into], jnp.float32),
    last=jnp.asarray(last[steps]),
    first=jnp.asarray(first[steps]),
  )


@pytest.mark.parametrize("unroll,n", [(3, 2), (2, 5)])
def test_agrees_with_the_rules_on_random_streams(unroll, n):
  """Every rule of the episode's end at once, on random episodes that terminate, are cut off and
  lose lives.
  """
  random = np.random.default_rng(1)
  reward, discount, first, last = stream(random, 60)
  value = random.normal(size=60).astype(np.float32)
  starts = [s for s in range(60 - unroll - n) if not last[s]]
  assert sum(last) > 4 and sum((discount == 0) & ~last) > 1 and sum((discount == 1) & last) > 1
  for start in starts:
    found = targets(
      window(reward, discount, first, last, value, start, unroll, n),
      unroll=unroll,
      n=n,
      discount=0.9,
    )
    expected = by_the_rules(reward, discount, last, value, start, unroll, n, 0.9)
    mask = np.array(expected[3])
    np.testing.assert_array_equal(found[2], expected[2])
    np.testing.assert_array_equal(found[3], expected[3])
    np.testing.assert_allclose(found[0] * mask[1:], expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1] * mask, expected[1], rtol=1e-5, atol=1e-6)


# The maker: the same in batches.


def maker(**changes):
  return TargetMaker(
    bootstrap.recorded, policy.recorded, dataclasses.replace(RETURNS, **changes), UNROLL
  )


def batch(*examples):
  return jax.tree.map(lambda *x: jnp.stack(x), *examples)


def test_maker_treats_each_example_on_its_own(key):
  """A batch of a running, a terminated, a truncated and a life-losing example: each row is what it
  is alone.
  """
  examples = [
    example(REWARD, VALUE),
    example(REWARD, VALUE, discount=[2], last=[2], first=[3]),
    example(REWARD, VALUE, last=[2], first=[3]),
    example(REWARD, VALUE, discount=[1]),
  ]
  found = jax.jit(maker())({}, key, batch(*examples))
  np.testing.assert_array_equal(
    found.value[:, :3], [[34, 68, 136], [2, 2, 0], [34, 66, 128], [1, 0, 0]]
  )
  np.testing.assert_array_equal(
    found.policy_mask, [[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0]]
  )
  np.testing.assert_array_equal(
    found.target_mask, [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]]
  )
  np.testing.assert_array_equal(found.reward[:, :2], [[1, 2], [1, 2], [1, 2], [1, 0]])
  assert found.policy.shape == (4, UNROLL + 1, 2)
  assert {x.dtype for x in jax.tree.leaves(found)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("end", ["terminated", "truncated"])
def test_nothing_of_the_next_episode_leaks(key, end):
  """Nothing of the next episode leaks into an example: with all its numbers changed, every target
  that counts is the same.
  """
  at = np.arange(LENGTH)
  for ending in range(1, LENGTH - 1):
    one = example(
      REWARD,
      VALUE,
      discount=[ending] if end == "terminated" else [],
      last=[ending],
      first=[ending + 1],
    )
    next_episode = at > ending
    into = next_episode[1:]
    other = dataclasses.replace(
      one,
      reward=jnp.where(into, -77.0, one.reward),
      discount=jnp.where(into & (at[1:] > ending + 1), 0.0, one.discount),
      last=one.last | jnp.asarray(at > ending + 1),
      policy=jnp.where(next_episode[: UNROLL + 1, None], jnp.array([[0.0, 1.0]]), one.policy),
      value=jnp.where(next_episode, -77.0, one.value),
      action=jnp.where(into, 1, one.action),
      frames=jnp.where(next_episode[:, None], jnp.uint8(200), one.frames),
    )
    found = jax.jit(maker())({}, key, batch(one, other))
    np.testing.assert_array_equal(found.policy_mask[0], found.policy_mask[1])
    np.testing.assert_array_equal(found.target_mask[0], found.target_mask[1])
    for masked in (
      found.reward * found.target_mask[:, 1:],
      found.value * found.target_mask,
      found.policy * found.policy_mask[..., None],
    ):
      np.testing.assert_array_equal(masked[0], masked[1])


def test_clipping_is_a_setting_of_the_maker(key):
  examples = batch(example([7, -3, 0, 0.5, -100], VALUE))
  np.testing.assert_array_equal(maker(clip_rewards=True)({}, key, examples).reward, [[1, -1, 0]])
  np.testing.assert_array_equal(maker(clip_rewards=False)({}, key, examples).reward, [[7, -3, 0]])


def test_targets_carry_no_gradient(key):
  """Targets carry no gradient, whatever their bootstrap is a function of."""

  def values(scale, one):
    return scale * one.value

  def total(scale):
    made = dataclasses.replace(maker(), bootstrap=values, policy=lambda p, k, e: p * e.policy)(
      scale, key, batch(example(REWARD, VALUE))
    )
    return sum(jnp.sum(x) for x in jax.tree.leaves(made))

  assert total(2.0) != total(1.0)
  assert jax.grad(total)(1.0) == 0
