"""Computes all training targets of a batch from its examples."""

import dataclasses
import functools
from collections.abc import Callable

import jax

from muzero_jax.targets.bootstrap import Bootstrap
from muzero_jax.targets.correction import Correction, uncorrected
from muzero_jax.targets.policy import PolicyTarget
from muzero_jax.targets.returns import Returns
from muzero_jax.targets.unroll import reward_and_value
from muzero_jax.types import Array, Example, Key, Params, Targets


@dataclasses.dataclass(frozen=True)
class TargetMaker:
  """Computes the training targets of examples. No gradient flows through them."""

  bootstrap: Bootstrap
  policy: PolicyTarget
  returns: Returns
  unroll: int
  correction: Correction = uncorrected
  # Computes f32[N, L-1] in place of the (clipped) rewards of the examples; None: leaves them.
  rewards: Callable[[Params, Example], Array] | None = None

  def __call__(self, target_params: Params, key: Key, example: Example) -> Targets:
    """The targets of examples [N, ...], whose frames must not be augmented."""
    returns = self.returns
    if self.rewards:
      example = dataclasses.replace(example, reward=self.rewards(target_params, example))
      returns = dataclasses.replace(returns, clip_rewards=False)
    value = self.bootstrap(target_params, example)
    ratios = self.correction(target_params, example)
    make = functools.partial(reward_and_value, unroll=self.unroll, returns=returns)
    reward, value, policy_mask, target_mask = jax.vmap(make)(example, value, ratios)
    policy = self.policy(target_params, key, example)
    return jax.lax.stop_gradient(Targets(reward, value, policy, policy_mask, target_mask))
