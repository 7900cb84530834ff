"""How examples are drawn: shares, priorities, weights, age."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax.replay.frames import Priorities, Ring
from muzero_jax.replay.sampling import Prioritized, Uniform, draw, inverse_cdf
from tests import builders

B, A, C = 2, 3, 16
RING = Ring(
  rows=C, num_envs=B, num_actions=A, frame_shape=(2,), stack=2, unroll=1, window=3
)  # L = 3: complete after 4 rows
ADD = jax.jit(RING.add)
DRAW = jax.jit(draw, static_argnums=2)
SAMPLE = jax.jit(
  lambda sampler, replay, key, step: sampler.sample(RING, replay, key, 64, step), static_argnums=0
)
UPDATE = jax.jit(
  lambda sampler, priorities, sample, error: sampler.update(priorities, sample, error),
  static_argnums=0,
)


def add_rows(replay, steps, last=lambda t, env: False, learner_step=lambda t: 0):
  """Writes rows t = head .. head + steps - 1 whose frames say t."""
  decision = builders.decision(B, A)
  for t in range(int(replay.head), int(replay.head) + steps):
    ends = [[(t > 0 and last(t - 1, env)) or t == 0, last(t, env)] for env in range(B)]
    first, over = (jnp.array(x, bool) for x in zip(*ends, strict=True))
    time = builders.time_step(B, frame=jnp.full((B, 2), t, jnp.uint8), first=first, last=over)
    replay = ADD(replay, decision, time, jnp.int32(learner_step(t)))
  return replay


def sampled(replay, index):
  """A batch of the examples at the given indices."""
  index = jnp.array(index, jnp.int32)
  sample = SAMPLE(Uniform(), replay, jax.random.key(0), jnp.int32(0))
  return dataclasses.replace(jax.tree.map(lambda x: x[: index.size], sample), index=index)


def priorities(priority):
  priority = jnp.asarray(priority, jnp.float32)
  return Priorities(priority, priority.sum(1), jnp.max(priority))


def counts_of(priorities, size=200_000, seed=0):
  index = np.asarray(DRAW(priorities, jax.random.key(seed), size))
  return np.bincount(index, minlength=priorities.priority.size)


def assert_shares(counts, shares):
  """Each count is within 5 sigma of a binomial with the given share; nothing without a share was
  drawn.
  """
  shares = np.asarray(shares, np.float64).reshape(-1)
  size = counts.sum()
  assert counts.size == shares.size
  np.testing.assert_array_equal(counts[shares == 0], 0)
  deviation = np.abs(counts - size * shares) / np.sqrt(size * shares * (1 - shares) + 1e-9)
  assert deviation.max() < 5


def test_every_stored_step_has_the_same_chance():
  """Short episodes are not over-sampled: environment 0 plays games of 3 steps, environment 1 one
  long game.
  """
  replay = add_rows(RING.init(), 40, last=lambda t, env: env == 0 and t % 3 == 2)
  # Rows 24 .. 39 are there. A stack of 2 needs row t-1 >= 24, a window of 3 with its decisions t+2
  # <= 38: t = 25 .. 36. Environment 0 has no examples at its ends 26, 29, 32, 35: 8 of 12;
  # environment 1 has all 12. A share is 1/20.
  shares = np.zeros((C, B))
  for t in range(25, 37):
    shares[t % C] = [0 if t % 3 == 2 else 1 / 20, 1 / 20]
  assert shares.sum() == pytest.approx(1)
  assert_shares(counts_of(replay.priorities), shares)


def test_uniform_samples_are_those_that_the_index_names():
  replay = add_rows(RING.init(), 40)
  sample = SAMPLE(Uniform(), replay, jax.random.key(0), jnp.int32(0))
  rows, steps = np.asarray(sample.index) // B, np.asarray(sample.example.frames)[:, -1, 0]
  np.testing.assert_array_equal(steps % C, rows)
  assert steps.min() >= 25 and steps.max() <= 36
  np.testing.assert_array_equal(sample.weight, np.ones(64, np.float32))
  again = Uniform().update(replay.priorities, sample, jnp.arange(64.0))
  jax.tree.map(np.testing.assert_array_equal, again, replay.priorities)


def test_two_keys_draw_two_batches_and_one_key_one():
  replay = add_rows(RING.init(), 40)
  one, same, other = (draw(replay.priorities, jax.random.key(k), 32) for k in (0, 0, 1))
  np.testing.assert_array_equal(one, same)
  assert (one != other).any()


def test_rows_and_environments_are_drawn_independently():
  """Four equal shares: each pair (row, environment) comes up as often, so one key does not decide
  both.
  """
  assert_shares(counts_of(priorities(np.ones((2, 2)))), np.full((2, 2), 1 / 4))


def test_a_share_is_the_mass_over_all_mass():
  """Mass 1, 2, 3, 0, 4, 0 of 10, row by row."""
  assert_shares(counts_of(priorities([[1, 2], [3, 0], [4, 0]])), [0.1, 0.2, 0.3, 0, 0.4, 0])


def test_priorities_are_the_error_to_the_power_alpha():
  """Errors 0, 3, 8, 15 with a floor of 1: 1, 4, 9, 16 to the power 1/2: 1, 2, 3, 4 of 10."""
  replay = add_rows(RING.init(), 4)  # row 0 is complete
  empty = jnp.zeros((C, B))
  replay_priorities = Priorities(
    empty.at[0].set(1.0).at[1].set(1.0), empty[:, 0].at[0].set(2.0).at[1].set(2.0), jnp.float32(1)
  )
  sampler = Prioritized(exponent=0.5, floor=1.0)
  updated = UPDATE(
    sampler, replay_priorities, sampled(replay, [0, 1, 2, 3]), jnp.array([0.0, -3.0, 8.0, 15.0])
  )
  np.testing.assert_allclose(updated.priority[:2], [[1, 2], [3, 4]], rtol=1e-6)
  np.testing.assert_allclose(updated.row_priority[:2], [3, 7], rtol=1e-6)
  np.testing.assert_array_equal(updated.priority[2:], 0)
  np.testing.assert_allclose(updated.max_priority, 4, rtol=1e-6)
  shares = np.zeros(C * B)
  shares[:4] = [0.1, 0.2, 0.3, 0.4]
  assert_shares(counts_of(updated), shares)


def test_importance_weights_by_hand():
  """Mass 1, 4, 16 and beta 1/2, half of the way from 0 to 1: (1 / P)^(1/2) is proportional to 1,
  1/2, 1/4; divided by the largest of the batch.
  """
  replay = add_rows(RING.init(), 8)
  priority = jnp.zeros((C, B)).at[1, 0].set(1.0).at[1, 1].set(4.0).at[2, 0].set(16.0)
  replay = dataclasses.replace(replay, priorities=priorities(priority))
  sampler = Prioritized(correction=0.0, anneal_steps=10)
  sample = SAMPLE(sampler, replay, jax.random.key(0), jnp.int32(5))
  expected = {2: 1.0, 3: 0.5, 4: 0.25}
  assert set(np.asarray(sample.index).tolist()) == set(expected)
  np.testing.assert_allclose(sample.weight, [expected[i] for i in sample.index.tolist()], rtol=1e-6)


def test_importance_weights_are_normalized_by_the_batchs_largest():
  """Only priority 4 and 16 there: 1/2 and 1/4 over 1/2."""
  replay = add_rows(RING.init(), 8)
  replay = dataclasses.replace(
    replay, priorities=priorities(jnp.zeros((C, B)).at[1, 1].set(4.0).at[2, 0].set(16.0))
  )
  sample = SAMPLE(Prioritized(correction=0.5), replay, jax.random.key(0), jnp.int32(0))
  np.testing.assert_allclose(sample.weight, np.where(sample.index == 3, 1.0, 0.5), rtol=1e-6)
  assert float(sample.weight.max()) == 1.0


def test_beta_is_annealed():
  """From 0.4 to 1 in 60 gradient steps, where it stays: after 20, 0.4 + 0.6 * 20 / 60 = 0.6."""
  sampler = Prioritized(correction=0.4, anneal_steps=60)
  betas = [float(sampler.beta(jnp.int32(step))) for step in (0, 20, 60, 100)]
  np.testing.assert_allclose(betas, [0.4, 0.6, 1, 1], rtol=1e-6)
  assert Prioritized(correction=0.4).beta(jnp.int32(60)) == 0.4


@pytest.fixture
def written_back():
  """A ring of 10 rows in which the example of row 5, environment 1 was sampled with error 7 (floor
  1, alpha 1: priority 8).
  """
  replay = add_rows(RING.init(), 10)
  sampler = Prioritized(exponent=1.0, floor=1.0)
  sample = sampled(replay, [5 * B + 1])
  return dataclasses.replace(
    replay, priorities=UPDATE(sampler, replay.priorities, sample, jnp.array([7.0]))
  )


def test_new_examples_enter_with_the_highest_priority(written_back):
  """1 until a learner has found more, then 8; those already there keep theirs."""
  np.testing.assert_array_equal(
    written_back.priorities.priority[:7], [[1, 1]] * 5 + [[1, 8]] + [[1, 1]]
  )
  later = add_rows(written_back, 3)
  np.testing.assert_array_equal(
    later.priorities.priority[:10], [[1, 1]] * 5 + [[1, 8]] + [[1, 1]] + [[8, 8]] * 3
  )
  np.testing.assert_array_equal(later.priorities.row_priority[4:10], [2, 9, 2, 16, 16, 16])


def test_the_highest_priority_never_falls(written_back):
  sampler = Prioritized(exponent=1.0, floor=1.0)
  sample = sampled(written_back, [5 * B + 1])
  assert float(UPDATE(sampler, written_back.priorities, sample, jnp.zeros(1)).max_priority) == 8.0


def test_a_priority_belongs_to_the_example_that_was_sampled(written_back):
  """Also after the ring has moved on: it stays with row 5 until the oldest frame of row 5 (row 4)
  is overwritten by row 20, and the next example in that place does not inherit it but enters with
  the highest.
  """
  seen = []
  replay = written_back
  for _ in range(10, 25):
    replay = add_rows(replay, 1)
    seen.append(float(replay.priorities.priority[5, 1]))
  # Rows 10 .. 19 leave it alone, row 20 ends it; row 21 is in its place, and complete when row 24
  # is written.
  assert seen == [8.0] * 10 + [0.0] * 4 + [8.0]
  lower = dataclasses.replace(
    replay,
    priorities=Priorities(
      replay.priorities.priority, replay.priorities.row_priority, jnp.float32(3)
    ),
  )
  assert float(add_rows(lower, 1).priorities.priority[6, 1]) == 3.0


def test_one_example_twice_in_a_batch_counts_once(written_back):
  """The row's priority stays the sum over its environments."""
  sampler = Prioritized(exponent=1.0, floor=1.0)
  sample = sampled(written_back, [8, 8, 9])
  updated = UPDATE(sampler, written_back.priorities, sample, jnp.array([1.0, 1.0, 4.0]))
  np.testing.assert_array_equal(updated.priority[4], [2.0, 5.0])
  np.testing.assert_array_equal(updated.row_priority, np.asarray(updated.priority).sum(1))


@pytest.mark.parametrize("sampler", [Uniform(), Prioritized()])
def test_the_age_of_an_example_is_in_learner_steps(sampler):
  """Staleness: row t was played when 10 t learner steps were done; now 1000 are."""
  replay = add_rows(RING.init(), 30, learner_step=lambda t: 10 * t)
  sample = SAMPLE(sampler, replay, jax.random.key(0), jnp.int32(1000))
  steps = np.asarray(sample.example.frames)[:, -1, 0].astype(int)
  np.testing.assert_array_equal(sample.example.age, 1000 - 10 * steps)
  assert len(set(steps)) > 3


def locate(priority, uniform):
  return np.asarray(
    inverse_cdf(jnp.asarray(priority, jnp.float32), jnp.asarray(uniform, jnp.float32))
  )


def test_inverse_cdf_gives_exact_shares():
  """A grid of 1000 shares over priority 1, 0, 2, 5, 0 (of 8): 125, 0, 250, 625, 0."""
  found = locate([1, 0, 2, 5, 0], (np.arange(1000) + 0.5) / 1000)
  np.testing.assert_array_equal(np.bincount(found, minlength=5), [125, 0, 250, 625, 0])
  np.testing.assert_array_equal(found, np.sort(found))


@pytest.mark.parametrize(
  "priority",
  [[0, 0, 1, 0, 0], [0, 3, 0, 0, 1e-3, 0], [1e-30, 0, 1e30, 0], [0, 0.1, 0.2, 0.7, 0], [2, 0], [5]],
)
@pytest.mark.parametrize("uniform", [0.0, 1e-12, 0.5, 1 - 2**-24, 1.0])
def test_inverse_cdf_never_lands_on_zero_mass(priority, uniform):
  """Nor beyond the end, with shares of exactly 0 and 1 either."""
  index = int(locate(priority, [uniform])[0])
  assert 0 <= index < len(priority)
  assert priority[index] > 0


def fractions(rows, envs, seed):
  """Mass as priorities give it: arbitrary numbers, and whole rows without any (at the write head,
  at ends of episodes).
  """
  random = np.random.RandomState(seed)
  return (random.rand(rows, envs) * (random.rand(rows, 1) < 0.7)).astype(np.float32)


@pytest.mark.parametrize("size", [5, 64, 1000, 20_000])
def test_inverse_cdf_never_lands_on_zero_mass_for_lack_of_precision(size):
  """XLA sums in parallel: an entry without priority may get a cumulative sum that differs from its
  neighbor's in the last bit. Tried with all shares at which an entry begins or ends.
  """
  priority = fractions(size, 1, seed=0)[:, 0]
  edges = np.asarray(jnp.cumsum(jnp.asarray(priority)))
  uniform = (edges / edges.max()).astype(np.float32)
  uniform = np.concatenate(
    [uniform, np.nextafter(uniform, np.float32(0)), np.nextafter(uniform, np.float32(1))]
  )
  found = locate(priority, np.clip(uniform, 0, 1))
  assert found.min() >= 0 and found.max() < size
  assert (priority[found] == 0).sum() == 0


def test_a_draw_never_lands_on_zero_mass():
  """As many draws as 16000 batches of 256 make; one that lands on nothing gives weights of 0 /
  0.
  """
  priority = fractions(20_000, 1, seed=0)
  for seed in range(2):
    index = np.asarray(DRAW(priorities(priority), jax.random.key(seed), 1 << 21))
    assert index.min() >= 0 and index.max() < priority.size
    assert (priority.reshape(-1)[index] == 0).sum() == 0
