"""Gumbel MuZero's search (Danihelka et al. 2022): sequential halving at the root, and a policy
target that is guaranteed to improve on the prior if Q is exact.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import mctx

from muzero_jax.search import qtransforms
from muzero_jax.search.base import GROWERS, RecurrentFn, decision, mctx_root
from muzero_jax.search.rounds import Halving
from muzero_jax.types import Array, Decision, Key, Model, Params, Root

# Scale of the Gumbel noise in evaluation: it breaks exact ties at random, such as those of a policy
# head that still has its initial value of zero. It is smaller than any difference that matters, and
# larger than the float32 resolution of logits + sigma(Q).
TIE_BREAK = 1e-4


@dataclasses.dataclass(frozen=True)
class Gumbel:
  """Acts with the winner of sequential halving, or with a sample from the policy target.

  The policy target is softmax(logits + sigma(completed Q)).
  """

  model: Model
  discount: float  # per agent step
  num_simulations: int
  max_considered: int = 16  # actions considered at the root
  value_scale: float = 0.1  # c_scale of sigma
  visit_offset: float = 50.0  # c_visit of sigma
  epsilon: float = 0.02  # smallest range of Q, in units of return, that is rescaled to 0..1
  max_depth: int | None = None
  prior_exponent: float = 1.0  # below 1 it bounds the effect of errors of Q: see `__call__`
  qtransform: str = "node"  # a key of `qtransforms.GUMBEL`
  # "halving": act with the winner of sequential halving; "sample": sample from the policy target,
  # which then is exactly the behavior policy
  acting: str = "halving"
  gumbel_scale: float = 1.0  # of the noise at the root
  tree: str = "mctx"  # a key of GROWERS

  @property
  def simulations(self) -> int:
    return self.num_simulations

  def for_evaluation(self) -> "Gumbel":
    """Without Gumbel noise, except what breaks ties."""
    return dataclasses.replace(self, gumbel_scale=TIE_BREAK, acting="halving")

  def for_reanalysis(self) -> "Gumbel":
    """The same search: its noise varies which actions are considered, as in self-play."""
    return self

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """See `base.Search`. `log_prob` is the policy target's, from which sequential halving samples
    only approximately. The kinds `advantage` and `skill` of `qtransform` read
    `params["statistics"]`.

    About `prior_exponent`: the policy target multiplies the prior by exp(sigma(Q)), and becomes the
    next prior. So a systematic error of Q adds up over updates, until the policy is deterministic.
    If the prior is raised to a power x < 1, the sum is bounded by sigma(Q) / (1 - x). This equals
    regularization by a KL divergence and an entropy together (Vieillard et al. 2020, "Leverage the
    Average").
    """
    return self.grow(params, key, root)[0]

  def grow(self, params: Params, key: Key, root: Root) -> tuple[Decision, mctx.Tree]:
    """The decision, and the tree that it was made from."""
    scaled = self.prior_exponent * root.policy_logits
    if root.illegal is not None:  # their logits are very low, and must not become 0
      scaled = jnp.where(root.illegal > 0, root.policy_logits, scaled)
    root = dataclasses.replace(root, policy_logits=scaled)
    key, noise_key, action_key = *jax.random.split(key), jax.random.fold_in(key, 2)
    noise = self.gumbel_scale * jax.random.gumbel(noise_key, root.policy_logits.shape)
    qtransform = functools.partial(
      qtransforms.GUMBEL[self.qtransform],
      value_scale=self.value_scale,
      visit_offset=self.visit_offset,
      epsilon=self.epsilon,
    )
    tree = GROWERS[self.tree](
      self.model.cast(params),
      key,
      root=mctx_root(root),
      recurrent_fn=RecurrentFn(self.model, self.discount),
      root_action_selection_fn=Halving(self.num_simulations, self.max_considered, qtransform),
      interior_action_selection_fn=functools.partial(
        mctx.gumbel_muzero_interior_action_selection, qtransform=qtransform
      ),
      num_simulations=self.num_simulations,
      max_depth=self.max_depth,
      invalid_actions=root.illegal,
      extra_data=qtransforms.ExtraData(
        noise, jnp.broadcast_to(self._scale(params), root.value.shape)
      ),
    )
    logits = root.policy_logits + jax.vmap(qtransform, (0, None))(tree, tree.ROOT_INDEX)
    policy = jax.nn.softmax(logits)
    if self.acting == "sample":
      action = jax.random.categorical(action_key, logits)
      return decision(tree, action, policy, behavior=policy), tree
    visits = tree.children_visits[:, 0]
    survivor = jnp.argmax(
      jnp.where(visits == visits.max(-1, keepdims=True), logits + noise, -jnp.inf), -1
    )
    return decision(tree, survivor, policy, behavior=policy), tree

  def _scale(self, params: Params) -> Array:
    """The divisor of advantages, f32[]; 1 for kinds of `qtransform` that do not use it."""
    return (
      qtransforms.scale(self.qtransform, params["statistics"])
      if self.qtransform in ("advantage", "skill")
      else jnp.ones(())
    )
