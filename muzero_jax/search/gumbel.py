"""Gumbel MuZero (Danihelka et al. 2022): sequential halving at the root, a policy target that provably improves."""

import dataclasses
import functools

import mctx

from muzero_jax.search.base import ModelInTree, decision, mctx_root
from muzero_jax.types import Decision, Key, Model, Params, Root

# Below any difference that matters, yet above float32's resolution of logits + sigma(Q): decides exact ties (a policy head that
# still is at its zero start) at random.
TIE_BREAK = 1e-4


@dataclasses.dataclass(frozen=True)
class Gumbel:
  """Acts with the survivor of the halving; the policy target is softmax(logits + sigma(completed Q))."""

  model: Model
  gamma: float  # per agent step
  num_simulations: int
  max_considered: int = 16  # actions considered at the root
  value_scale: float = 0.1  # c_scale of sigma
  visit_offset: float = 50.0  # c_visit of sigma
  epsilon: float = 0.02  # smallest spread of Q that is stretched to 0..1; below it, differences count as noise
  max_depth: int | None = None
  gumbel_scale: float = 1.0

  @property
  def simulations(self) -> int:
    """Tree expansions per root."""
    return self.num_simulations

  def for_evaluation(self) -> "Gumbel":
    """Without Gumbel noise, but for ties."""
    return dataclasses.replace(self, gumbel_scale=TIE_BREAK)

  def for_reanalysis(self) -> "Gumbel":
    """With noise: which actions are considered should vary as it does in self-play."""
    return self

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """See `base.Search`. `log_prob` is that of the policy target, which the halving samples from approximately."""
    output = mctx.gumbel_muzero_policy(
      params,
      key,
      mctx_root(root),
      ModelInTree(self.model, self.gamma),
      self.num_simulations,
      max_depth=self.max_depth,
      qtransform=functools.partial(
        mctx.qtransform_completed_by_mix_value,
        value_scale=self.value_scale,
        maxvisit_init=self.visit_offset,
        epsilon=self.epsilon,
      ),
      max_num_considered_actions=self.max_considered,
      gumbel_scale=self.gumbel_scale,
    )
    return decision(output, output.action_weights)
