"""All targets of a batch."""

import dataclasses
import functools

import jax

from muzero_jax.targets.bootstrap import Bootstrap
from muzero_jax.targets.policy import PolicyTarget
from muzero_jax.targets.unroll import reward_and_value
from muzero_jax.types import Example, Key, Params, Targets


@dataclasses.dataclass(frozen=True)
class TargetMaker:
  """From examples to what the unroll is trained towards. Nothing here carries a gradient."""

  bootstrap: Bootstrap
  policy: PolicyTarget
  unroll: int = 5
  n: int = 5
  gamma: float = 0.997  # per agent step
  trace: float = 1.0  # lambda of TD(lambda); 1 is the n-step return
  clip: bool = True  # learn from the signs of rewards
  stale_after: int = 0  # gradient steps of age that make returns one step shorter; 0: none do

  def __call__(self, target_params: Params, key: Key, example: Example) -> Targets:
    """Examples [N, ...] as they were played, not augmented -> targets [N, ...]."""
    value = self.bootstrap(target_params, example)
    make = functools.partial(reward_and_value, unroll=self.unroll, n=self.n, gamma=self.gamma, trace=self.trace, clip=self.clip)
    reward, value, alive, known = jax.vmap(functools.partial(make, stale_after=self.stale_after))(example, value)
    policy = self.policy(target_params, key, example)
    return jax.lax.stop_gradient(Targets(reward, value, policy, alive, known))
