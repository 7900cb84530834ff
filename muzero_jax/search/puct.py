"""MuZero's search (Schrittwieser et al. 2020): PUCT with Dirichlet noise at the root.

The policy target is the distribution of visits, or the regularized policy that visits approach
(`regularized`).
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import mctx

from muzero_jax.search import qtransforms, regularized
from muzero_jax.search.base import GROWERS, RecurrentFn, decision, log, mctx_root
from muzero_jax.types import Array, Decision, Key, Model, Params, Root


@dataclasses.dataclass(frozen=True)
class Puct:
  """Samples actions in proportion to visits^(1 / temperature), or to the regularized policy's
  probabilities with the same exponent.

  The policy target does not depend on the temperature.
  """

  model: Model
  discount: float  # per agent step
  num_simulations: int
  qtransform: str = "tree"  # a key of `qtransforms.PUCT`
  epsilon: float = 0.02  # smallest range of Q, in units of return, that is rescaled to 0..1
  unvisited: str = "mean"  # score of unvisited children: see `qtransforms.puct_over_tree`
  pb_c_init: float = 1.25
  pb_c_base: float = 19652.0
  dirichlet_alpha: float = 0.3
  dirichlet_fraction: float = 0.25
  temperature: float = 1.0
  max_depth: int | None = None
  tree: str = "mctx"  # a key of GROWERS
  improvement: str = "visits"  # a key of `regularized.VARIANTS`

  @property
  def simulations(self) -> int:
    return self.num_simulations

  def for_evaluation(self) -> "Puct":
    """Without Dirichlet noise; takes the most visited action, or the most probable one of the
    regularized policy if that acts.
    """
    return dataclasses.replace(self, dirichlet_fraction=0.0, temperature=0.0)

  def for_reanalysis(self) -> "Puct":
    """Without Dirichlet noise."""
    return dataclasses.replace(self, dirichlet_fraction=0.0)

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """See `base.Search`. `log_prob` is that of the policy sampled from, at `temperature`."""
    return self.grow(params, key, root)[0]

  def grow(self, params: Params, key: Key, root: Root) -> tuple[Decision, mctx.Tree]:
    """The decision, and the tree that it was made from."""
    key, noise_key, search_key = jax.random.split(key, 3)
    start = mctx_root(root).replace(prior_logits=self._noisy(noise_key, root))
    learn, act, search = regularized.VARIANTS[self.improvement]
    constants = dict(pb_c_init=self.pb_c_init, pb_c_base=self.pb_c_base)
    qtransform = functools.partial(
      qtransforms.PUCT[self.qtransform], epsilon=self.epsilon, unvisited=self.unvisited
    )
    select = functools.partial(
      regularized.sampled_action if search else mctx.muzero_action_selection,
      qtransform=qtransform,
      **constants,
    )
    tree = GROWERS[self.tree](
      self.model.cast(params),
      search_key,
      root=start,
      recurrent_fn=RecurrentFn(self.model, self.discount),
      root_action_selection_fn=functools.partial(select, depth=0),
      interior_action_selection_fn=select,
      num_simulations=self.num_simulations,
      max_depth=self.max_depth,
      invalid_actions=root.illegal,
    )
    visits = tree.summary().visit_probs
    improve = functools.partial(regularized.root_policy, tree, qtransform=qtransform, **constants)
    policy = improve(root.policy_logits) if learn else visits
    acting = improve(start.prior_logits) if act else visits
    behavior = jax.nn.softmax(log(acting) / max(self.temperature, 1e-3))
    return decision(tree, jax.random.categorical(key, log(behavior)), policy, behavior), tree

  def _noisy(self, key: Key, root: Root) -> Array:
    """The prior, mixed with Dirichlet noise over the legal actions, as logits."""
    logits = root.policy_logits
    noise = jax.random.dirichlet(
      key, jnp.full(logits.shape[-1], self.dirichlet_alpha), logits.shape[:-1]
    )
    if root.illegal is not None:
      noise = jnp.where(root.illegal > 0, 0.0, noise)
      noise = noise / jnp.maximum(noise.sum(-1, keepdims=True), jnp.finfo(noise.dtype).tiny)
    mixed = log(
      (1 - self.dirichlet_fraction) * jax.nn.softmax(logits) + self.dirichlet_fraction * noise
    )
    if root.illegal is not None:
      return jnp.where(root.illegal > 0, jnp.finfo(mixed.dtype).min, mixed)
    return mixed
