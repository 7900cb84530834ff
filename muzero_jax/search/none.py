"""No tree: act straight from the policy head, and improve it by looking one step ahead.

The policy target is CMPO's (Hessel et al. 2021, "Muesli", eq. 6): the prior, reweighted by the
exponent of each action's clipped advantage under the model, for which every action is tried once,
all of them in one batch.
"""

import dataclasses

import jax
import jax.numpy as jnp

from muzero_jax.search import qtransforms
from muzero_jax.search.base import RecurrentFn, decided
from muzero_jax.types import Array, Decision, Key, Model, Params, Root


@dataclasses.dataclass(frozen=True)
class NoSearch:
  """Samples from the prior; in evaluation takes the improved policy's best action."""

  model: Model
  discount: float  # per agent step
  scale: float = (
    0.1  # of advantages, in units of reward: one of this size multiplies an action's odds by e
  )
  clip: float = 3.0  # of scaled advantages
  qtransform: str = (
    "fixed"  # "advantage" or "skill": `qtransforms.scale` in place of `scale`, and its clip
  )
  greedy: bool = False

  @property
  def simulations(self) -> int:
    """There is no tree."""
    return 0

  def for_evaluation(self) -> "NoSearch":
    """Greedy."""
    return dataclasses.replace(self, greedy=True)

  def for_reanalysis(self) -> "NoSearch":
    """The same."""
    return self

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """See `base.Search`. The value is the prior's expectation of Q."""
    prior = jax.nn.softmax(root.policy_logits)
    q = look_ahead(self.model, self.discount, params, key, root)
    baseline = jnp.sum(prior * q, -1, keepdims=True)
    scale, clip = self.scale, self.clip
    if self.qtransform != "fixed":
      scale, clip = qtransforms.scale(self.qtransform, params["statistics"]), qtransforms.CLIP
    advantage = jnp.clip((q - baseline) / scale, -clip, clip)
    logits = root.policy_logits + advantage
    policy = jax.nn.softmax(logits)
    noise = jax.random.gumbel(key, logits.shape)
    behavior = logits + 1e-6 * noise if self.greedy else root.policy_logits + noise
    action = jnp.argmax(behavior, -1)
    return decided(
      action,
      policy,
      baseline[:, 0],
      q,
      policy if self.greedy else prior,
      depth=jnp.ones_like(root.value),
    )


def look_ahead(model: Model, discount: float, params: Params, key: Key, root: Root) -> Array:
  """Q of every action by one step of the model, f32[B, A]."""
  size, num_actions = root.policy_logits.shape
  hidden = jnp.repeat(root.hidden, num_actions, 0)
  actions = jnp.tile(jnp.arange(num_actions, dtype=jnp.int32), size)
  output, _ = RecurrentFn(model, discount)(
    params, key, actions, (hidden, jnp.zeros(size * num_actions))
  )
  return (output.reward + output.discount * output.value).reshape(size, num_actions)
