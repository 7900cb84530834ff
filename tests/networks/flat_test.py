"""Parameters as one vector."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from muzero_jax import build
from muzero_jax.networks.flat import by_array, layout
from muzero_jax.runs import storage
from muzero_jax.runs.saved import Saved, with_optimizer

TREE = {
  "a": jnp.array([5.0, 6.0]),
  "b": {"c": jnp.array([[1.0, 2.0], [3.0, 4.0]])},
  "d": jnp.ones(()),
}


def test_matrices_come_first():
  place = layout(TREE)
  assert (place.size, place.matrices) == (7, 4)
  assert place.flat(TREE).tolist() == [1, 2, 3, 4, 5, 6, 1]
  assert jax.tree.all(jax.tree.map(np.array_equal, place.tree(place.flat(TREE)), TREE))


def test_the_optimizer_of_a_vector_does_what_one_of_arrays_does(make_config):
  """AdamW with clipping, three steps; only arrays with several axes decay."""
  config = make_config(optimizer__weight_decay=0.1, optimizer__clip=0.5, optimizer__warmup=1)
  place, rate = layout(TREE), config.optimizer.learning_rate
  optimizer = build.make_optimizer(config, place)
  plain = optax.chain(
    optax.clip_by_global_norm(0.5),
    optax.adamw(
      optax.linear_schedule(rate / 2, rate, 1),
      weight_decay=0.1,
      mask=lambda tree: jax.tree.map(lambda x: x.ndim > 1, tree),
    ),
  )
  vector, tree = place.flat(TREE), TREE
  state, states = optimizer.init(vector), plain.init(tree)
  for scale in (1.0, -2.0, 0.1):
    gradient = jax.tree.map(lambda x, scale=scale: scale * jnp.sin(x), tree)
    update, state = optimizer.update(place.flat(gradient), state, vector)
    updates, states = plain.update(gradient, states, tree)
    vector, tree = vector + update, optax.apply_updates(tree, updates)
    np.testing.assert_allclose(vector, place.flat(tree), rtol=1e-5)


def test_a_checkpoint_with_the_optimizer_by_array_opens(tmp_path, make_config):
  """Those of earlier versions: moments of each array become parts of the vectors."""
  shared = build.build(make_config(tmp_path)).shared()
  params, place = shared.learner.params, layout(shared.learner.params)
  moments = jax.tree.map(  # all entries differ
    lambda x: x + jnp.arange(x.size, dtype=x.dtype).reshape(x.shape), shared.learner.opt_state
  )
  state = by_array(moments, params)
  earlier = optax.chain(
    optax.clip_by_global_norm(5.0),
    optax.adamw(optax.linear_schedule(0, 1, 2), mask=lambda x: jax.tree.map(jnp.ndim, x)),
  )
  assert jax.tree.structure(state) == jax.tree.structure(earlier.init(params))
  writer = storage.Writer(tmp_path / "checkpoints", 1)
  writer.save(7, {}, learner=with_optimizer(shared, state), local=[jnp.zeros(1)])
  writer.close()
  found = Saved(tmp_path / "checkpoints" / "7").learner(shared).learner.opt_state
  assert jax.tree.all(jax.tree.map(np.array_equal, found, moments))
  assert found[1][0].mu.shape == (place.size,)
