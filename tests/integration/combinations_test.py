"""Ideas together: each pair of them trains in one of a few runs, or is refused in a sentence."""

import itertools
import re
from collections.abc import Iterator

import jax
import numpy as np
import pytest
from allpairspy import AllPairs

from muzero_jax import build, flags, rules
from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError
from muzero_jax.learner import EVIDENCE
from muzero_jax.runs import metrics
from muzero_jax.runs.state import begin
from muzero_jax.studies import variants
from muzero_jax.train import compiled

FOLDER = "ideas/"
IDEAS = tuple(name.removeprefix(FOLDER) for name in flags.presets() if name.startswith(FOLDER))
# Ideas that are agents of their own: they have no search, and exclude much.
AGENTS = ("dqn", "mellowmax")
MUZERO = tuple(idea for idea in IDEAS if idea not in AGENTS)
CATCH = flags.parse(["train", "--preset=catch"], Config())
# What comes after so many gradient steps comes within the few of a test; what is large is small.
SOONER = {
  "loss.pretrain": 2,
  "loss.reconstruction_until": 12,
  "learner.reset_every": 8,
  "loss.consistency_width": 16,
  "learner.target_period": 3,
  "targets.anneal": 4,
}
TICKS = 44  # with returns of 20 steps, learning begins after about 30

Row = tuple[str, ...]  # ideas that are on, in the order of IDEAS


CHANGES = {idea: variants.idea(idea) for idea in IDEAS}


def with_ideas(config: Config, row: Row) -> Config:
  """Adds ideas to settings, the last one first: `resets`, which shortens n, after `td_lambda`."""
  for idea in reversed(row):
    config = configs.replace(config, CHANGES[idea])
  return config


def fits(row: Row) -> bool:
  """Whether ideas can be on together: none replaces a word that another has chosen, as one replay
  or one kind of search, and the rules allow all of them on the catch preset.
  """
  config = with_ideas(CATCH, row)
  chosen = configs.values(config)
  for name, value in itertools.chain.from_iterable(CHANGES[idea].items() for idea in row):
    if isinstance(value, str) and value != chosen[name]:
      return False
  try:
    rules.check(config)
  except ConfigError:
    return False
  return True


PAIRS = {pair for pair in itertools.combinations(IDEAS, 2) if fits(pair)}


def pairs(row: Row) -> set[Row]:
  return set(itertools.combinations(row, 2))


def together(row: Row) -> bool:
  """Whether all pairs of these ideas are possible."""
  return pairs(row) <= PAIRS


def choices(ideas: Row) -> list[list[Row]]:
  """Factors for a covering set.

  Ideas that exclude each other, directly or through others, share a factor: its values are the
  largest sets of them that are possible together. The value of any other idea is that it is on.
  """
  groups: list[Row] = []
  for idea in ideas:
    apart = [group for group in groups if any(not together(pair(idea, x)) for x in group)]
    joined = tuple(sorted({idea, *itertools.chain.from_iterable(apart)}))
    groups = [group for group in groups if group not in apart] + [joined]
  factors = []
  for group in groups:
    sizes = range(len(group), 0, -1)
    found = (x for size in sizes for x in itertools.combinations(group, size) if together(x))
    values: list[Row] = []
    for value in found:
      if not any(set(value) <= set(larger) for larger in values):
        values.append(value)
    factors.append(values)
  return factors


def pair(a: str, b: str) -> Row:
  return min(a, b), max(a, b)


def row(values: list[Row]) -> Row:
  return tuple(sorted(itertools.chain.from_iterable(values)))


def covering() -> Iterator[Row]:
  """Rows that cover the pairs: for MuZero, and for each agent with the ideas that go with it.

  Of a row, only ideas are kept that are in a pair which no row before has: that compiles faster.
  """
  left = set(PAIRS)
  for agent in ((), *((agent,) for agent in AGENTS)):
    ideas = tuple(idea for idea in MUZERO if all(together(pair(idea, x)) for x in agent))
    for values in AllPairs(
      choices(ideas), filter_func=lambda values, agent=agent: fits(row([agent, *values]))
    ):
      new = left & pairs(row([agent, *values]))
      left -= new
      if new:
        yield tuple(sorted(set().union(*new)))


ROWS = tuple(covering())


def name(row: Row) -> str:
  """An agent's name, or which of the ideas that exclude others are on."""
  special = [idea for idea in row if any(pair(idea, x) not in PAIRS for x in MUZERO if x != idea)]
  return "-".join([idea for idea in row if idea in AGENTS] or special)


def test_a_pair_is_possible_or_refused_in_a_sentence():
  """In both orders, by one line that names a flag; `PAIRS` are possible in one order at least."""
  possible = set()
  for ideas in itertools.permutations(IDEAS, 2):
    try:
      rules.check(variants.with_ideas(CATCH, "+".join(ideas)))
      possible.add(tuple(sorted(ideas)))
    except ConfigError as error:
      assert re.fullmatch(r"[^\n]*--[a-z][^\n]*\.", str(error)), ideas
  assert possible == PAIRS


def test_every_pair_is_in_a_row():
  assert PAIRS <= set().union(*map(pairs, ROWS))
  assert all(fits(row) for row in ROWS)
  alone = {idea for idea in IDEAS if not any(idea in pair for pair in PAIRS)}
  assert not alone and len(PAIRS) > 300


@pytest.mark.parametrize("ideas", ROWS, ids=name)
def test_ideas_train_together(ideas, make_config):
  """A few gradient steps, none of which diverges: what is measured and learned is finite."""
  config = with_ideas(make_config(network__size="grid", cpu_devices=1), ideas)
  values = configs.values(config)
  config = configs.replace(config, {name: min(values[name], n) for name, n in SOONER.items()})
  rules.check(config)
  run = build.build(config)
  state = begin(run, None).state
  program = compiled(run.loop.run_ticks, state, run.devices)
  shared, _, found = program(state.shared, state.local, np.int32(TICKS))
  learner = shared.learner
  assert int(learner.step) > max(SOONER["learner.reset_every"], SOONER["loss.pretrain"])
  assert int(learner.skipped) == 0
  found = {name: value for name, value in found.items() if not name.startswith(EVIDENCE)}
  for measured, value in metrics.sums(found).items():
    assert np.isfinite(value).all(), measured
  assert {"loss/total", "learner/gradient_norm"} <= metrics.means(metrics.sums(found)).keys()
  for path, leaf in jax.tree.leaves_with_path((learner.params, learner.target_params)):
    assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
