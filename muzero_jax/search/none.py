"""A search without a tree: act by the policy head, and improve the policy by a one-step look-ahead.

The policy target is CMPO's (Hessel et al. 2021, "Muesli", eq. 6): the prior times exp(clipped
advantage). The advantage of each action comes from one step of the model; all actions are evaluated
in one batch.
"""

import dataclasses

import jax
import jax.numpy as jnp

from muzero_jax.search import qtransforms
from muzero_jax.search.base import decided, every_action
from muzero_jax.types import Array, Decision, Key, Model, Params, Root


@dataclasses.dataclass(frozen=True)
class NoSearch:
  """Samples from the prior; in evaluation, takes the best action of the improved policy."""

  model: Model
  discount: float  # per agent step
  # An advantage of this size, in units of return, multiplies an action's odds by e.
  scale: float = 0.1
  clip: float = 3.0  # scaled advantages are clipped to plus or minus this
  # "fixed": `scale` and `clip`; "advantage" or "skill": `qtransforms.scale` and `qtransforms.CLIP`
  qtransform: str = "fixed"
  greedy: bool = False  # take the best action of the improved policy

  @property
  def simulations(self) -> int:
    return 0

  def for_evaluation(self) -> "NoSearch":
    return dataclasses.replace(self, greedy=True)

  def for_reanalysis(self) -> "NoSearch":
    return self

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """See `base.Search`. The value is the expectation of Q under the prior."""
    prior = jax.nn.softmax(root.policy_logits)
    q = look_ahead(self.model, self.discount, params, root)
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


def look_ahead(model: Model, discount: float, params: Params, root: Root) -> Array:
  """Q of every action from one step of the model, f32[B, A], in units of return."""
  output, _ = every_action(model, discount, params, root)
  return (output.reward + output.discount * output.value).reshape(root.policy_logits.shape)
