"""Stand-ins leave out one part and do the work of the others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from muzero_jax import build, flags
from muzero_jax.benchmark.stubs import (
  FixedSampler,
  FreeEnvironment,
  SearchWithoutTree,
  free_model,
  replaced,
  without_network,
  without_tree,
)
from muzero_jax.config import Config
from muzero_jax.device import ordering
from muzero_jax.envs.base import Spec
from muzero_jax.networks.model import initial_inference
from muzero_jax.search.gumbel import Gumbel
from muzero_jax.search.none import NoSearch
from muzero_jax.search.puct import Puct
from muzero_jax.types import Example, Model, Root, Sample
from tests import builders

# Each step adds 1 to the hidden state, which is reward and value at once.
COUNTING = Model(
  init=lambda key: (),
  encode=lambda params, frames: frames[:, 0, :1],
  predict=lambda params, hidden: (jnp.zeros((hidden.shape[0], 3)), hidden),
  step=lambda params, hidden, action: (hidden + 1, hidden + 1),
  decode=lambda logits: logits[..., 0],
  encode_scalar=lambda scalar: scalar[..., None],
)


def roots(size=2, width=1):
  return Root(jnp.zeros((size, width)), jnp.zeros((size, 3)), jnp.zeros(size))


@pytest.mark.parametrize("simulations, value", [(1, 1.5), (2, 4.5), (3, 9.0)])
def test_a_chain_makes_as_many_model_steps_as_simulations(key, simulations, value):
  """1 + 1/2, then 2 + 2/2, then 3 + 3/2."""
  search = Gumbel(COUNTING, 0.5, simulations)
  chain = without_tree(search)
  assert isinstance(chain, SearchWithoutTree) and chain.simulations == simulations
  np.testing.assert_allclose(chain((), key, roots()).value, [value] * 2)


def test_without_a_tree_there_is_nothing_to_leave_out():
  search = NoSearch(COUNTING, 0.5)
  assert without_tree(search) is search


@pytest.mark.parametrize("kind", [Gumbel, Puct])
@pytest.mark.parametrize("width", [2, 8])
def test_a_free_model_serves_a_tree(key, kind, width):
  """Trees grow as with a real model: deeper than one step, yet not one line; hidden states keep
  shape and dtype.
  """
  model = free_model(COUNTING)
  hidden, _ = model.step((), jnp.zeros((2, width, 2), jnp.bfloat16), jnp.arange(2))
  assert hidden.shape == (2, width, 2) and hidden.dtype == jnp.bfloat16
  origin = Root(jax.random.uniform(key, (4, width)), jnp.zeros((4, 3)), jnp.zeros(4))
  decision = jax.jit(kind(model, 0.99, 16))((), key, origin)
  assert (decision.depth >= 2).all() and (decision.depth < 16).all()


@pytest.mark.parametrize(
  ("idea", "trees"),
  [
    ("ensemble_bonus", 2),  # with the bonus, and without it for evaluation
    ("equivalent_actions", 1),
    ("hierarchy", 2),  # over jumps, and over actions
    ("q_prior", 1),
    ("two_horizons", 1),
    ("uncertainty_focus", 2),  # with twice the simulations, and for evaluation
    ("dqn", 0),
  ],
)
def test_trees_are_replaced_inside_of_searches_around_searches(idea, trees):
  words = ["train", "--preset=catch", f"--preset=ideas/{idea}", "--workdir=x"]
  run = build.build(flags.parse(words, Config()))
  search, found = run.loop.search, []

  def count(tree):
    found.append(tree)
    return tree

  assert replaced(search, count) == search and len(found) == trees
  for stub in (without_tree(search), without_tree(search, unroll=True)):
    replaced(stub, lambda tree: pytest.fail(f"{tree} is left"))
  state = jax.eval_shape(run.loop.learner.init, jax.random.key(0))
  frames = jnp.zeros((4, run.loop.ring.stack, *run.loop.environment.spec.frame_shape))

  def decide(search):
    return jax.eval_shape(
      lambda p, k: search(p, k, initial_inference(run.loop.model, p, frames)),
      state.variables,
      jax.random.key(0),
    )

  assert decide(without_tree(search)) == decide(without_network(search)) == decide(search)


def test_a_still_environment_shows_frames_and_never_ends():
  environment = FreeEnvironment(Spec(2, 3, (4, 4)))
  state = environment.reset(jax.random.key(0))
  seen = []
  for step in range(6):
    state, time = environment.recv(state, after=jnp.float32(0))
    assert (
      bool(time.first.all()) == (step == 0) and not time.last.any() and (time.discount == 1).all()
    )
    seen.append(np.asarray(time.frame))
    state = environment.send(state, jnp.zeros(2, jnp.int32))
  assert seen[0].dtype == np.uint8 and seen[0].shape == (2, 4, 4)
  np.testing.assert_array_equal(seen[0], seen[4])
  assert not np.array_equal(seen[0], seen[1])
  assert needs(
    lambda action: ordering.never(environment.send(state, action)), jnp.zeros(2, jnp.int32)
  )


def test_a_fixed_batch_stays_the_same_but_waits_for_the_step(key):
  numbers = jnp.arange(6.0).reshape(2, 3)
  batch = Sample(builders.filled(Example, numbers), jnp.arange(2), jnp.ones(2))

  def draw(step):
    return FixedSampler(batch).sample(None, None, key, 2, step)

  assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), draw(jnp.int32(5)), batch))
  for number in range(len(jax.tree.leaves(batch))):
    assert needs(lambda step, number=number: jax.tree.leaves(draw(step))[number], jnp.int32(5))


def needs(fn, argument) -> bool:
  """Whether what `fn` returns depends on its argument."""
  return "%arg0" in jax.jit(fn).lower(argument).as_text()  # jit drops arguments that are not used
