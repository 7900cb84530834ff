"""Gumbel MuZero (Danihelka et al. 2022): sequential halving at the root, a policy target that
provably improves.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import mctx

from muzero_jax.search import qtransforms
from muzero_jax.search.base import GROWERS, RecurrentFn, decision, mctx_root
from muzero_jax.types import Array, Decision, Key, Model, Params, Root

# Below any difference that matters, yet above float32's resolution of logits + sigma(Q): decides
# exact ties (a policy head that still is at its zero start) at random.
TIE_BREAK = 1e-4


@dataclasses.dataclass(frozen=True)
class Gumbel:
  """Acts with the survivor of the halving, or samples; the policy target is softmax(logits +
  sigma(completed Q)).
  """

  model: Model
  discount: float  # per agent step
  num_simulations: int
  max_considered: int = 16  # actions considered at the root
  value_scale: float = 0.1  # c_scale of sigma
  visit_offset: float = 50.0  # c_visit of sigma
  epsilon: float = (
    0.02  # smallest spread of Q that is stretched to 0..1; below it, differences count as noise
  )
  max_depth: int | None = None
  prior_exponent: float = 1.0  # below 1 the policy forgets: see `__call__`
  qtransform: str = "node"  # a key of `qtransforms.GUMBEL`
  # or "sample": from the policy target, whose probabilities are then exactly the behavior's
  acting: str = "halving"
  gumbel_scale: float = 1.0
  tree: str = "mctx"  # a key of GROWERS

  @property
  def simulations(self) -> int:
    """Tree expansions per root."""
    return self.num_simulations

  def for_evaluation(self) -> "Gumbel":
    """Without Gumbel noise, but for ties."""
    return dataclasses.replace(self, gumbel_scale=TIE_BREAK, acting="halving")

  def for_reanalysis(self) -> "Gumbel":
    """With noise: which actions are considered should vary as it does in self-play."""
    return self

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """See `base.Search`. `log_prob` is that of the policy target, which the halving samples from
    approximately. The kinds `advantage` and `skill` of `qtransform` read `params["statistics"]`.

    The target multiplies the prior by exp(sigma(Q)), and becomes the next prior: what Q is wrong by
    adds up from update to update until the policy is certain of it. With the prior to the power x <
    1 it adds up to sigma(Q) / (1 - x) and no further (Vieillard et al. 2020, "Leverage the
    Average": a Kullback-Leibler and an entropy term together).
    """
    root = dataclasses.replace(root, policy_logits=self.prior_exponent * root.policy_logits)
    key, noise_key, action_key = *jax.random.split(key), jax.random.fold_in(key, 2)
    noise = self.gumbel_scale * jax.random.gumbel(noise_key, root.policy_logits.shape)
    qtransform = functools.partial(
      qtransforms.GUMBEL[self.qtransform],
      value_scale=self.value_scale,
      visit_offset=self.visit_offset,
      epsilon=self.epsilon,
    )
    tree = GROWERS[self.tree](
      params,
      key,
      root=mctx_root(root),
      recurrent_fn=RecurrentFn(self.model, self.discount),
      root_action_selection_fn=functools.partial(
        mctx.gumbel_muzero_root_action_selection,
        num_simulations=self.num_simulations,
        max_num_considered_actions=self.max_considered,
        qtransform=qtransform,
      ),
      interior_action_selection_fn=functools.partial(
        mctx.gumbel_muzero_interior_action_selection, qtransform=qtransform
      ),
      num_simulations=self.num_simulations,
      max_depth=self.max_depth,
      extra_data=qtransforms.ExtraData(
        noise, jnp.broadcast_to(self._scale(params), root.value.shape)
      ),
    )
    logits = root.policy_logits + jax.vmap(qtransform, (0, None))(tree, tree.ROOT_INDEX)
    policy = jax.nn.softmax(logits)
    if self.acting == "sample":
      return decision(tree, jax.random.categorical(action_key, logits), policy, behavior=policy)
    visits = tree.children_visits[:, 0]
    survivor = jnp.argmax(
      jnp.where(visits == visits.max(-1, keepdims=True), logits + noise, -jnp.inf), -1
    )
    return decision(tree, survivor, policy, behavior=policy)

  def _scale(self, params: Params) -> Array:
    """What advantages are divided by, f32[]; 1 where the kind of `qtransform` does not use it."""
    return (
      qtransforms.scale(self.qtransform, params["statistics"])
      if self.qtransform in ("advantage", "skill")
      else jnp.ones(())
    )
