"""No search at all: acts from the Q head, without model or tree, as DQN does (Mnih et al. 2015)."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from muzero_jax.networks.q import q_values
from muzero_jax.search import mellowmax
from muzero_jax.search.base import decided, log
from muzero_jax.types import Array, Decision, Key, Model, Params, Root


def greedy(q: Array) -> Array:
  """The policy that takes the best of the actions f32[B, A], with equal odds where several are."""
  best = (q == jnp.max(q, -1, keepdims=True)).astype(jnp.float32)
  return best / best.sum(-1, keepdims=True)


# Q f32[B, A], temperature in units of return -> policy f32[B, A]
POLICIES: dict[str, Callable[[Array, float], Array]] = {
  "epsilon": lambda q, temperature: greedy(q),
  "boltzmann": lambda q, temperature: jax.nn.softmax(q / temperature),
  "mellowmax": lambda q, temperature: mellowmax.policy(q, 1 / temperature),
}


@dataclasses.dataclass(frozen=True)
class QSearch:
  """Acts by a policy made from Q of every action. Evaluation takes the best action."""

  model: Model  # with a Q head
  acting: str = "epsilon"  # a key of POLICIES
  epsilon: float = 0.0  # share of uniformly random actions
  # Of softmax(Q / temperature), in units of return; mellowmax's omega is its inverse.
  temperature: float = 0.1

  @property
  def simulations(self) -> int:
    return 0

  def for_evaluation(self) -> "QSearch":
    return dataclasses.replace(self, acting="epsilon", epsilon=0.0)

  def for_reanalysis(self) -> "QSearch":
    return self

  def __call__(self, params: Params, key: Key, root: Root) -> Decision:
    """See `base.Search`. The policy is that without random actions, and the value its expectation
    of Q: the maximum for `epsilon`, mm_omega(Q) for `mellowmax`.
    """
    q = q_values(self.model, params, root.hidden)
    policy = POLICIES[self.acting](q, self.temperature)
    behavior = (1 - self.epsilon) * policy + self.epsilon / q.shape[-1]
    action = jax.random.categorical(key, log(behavior))
    value = jnp.sum(policy * q, -1)
    return decided(action, policy, value, q, behavior, depth=jnp.zeros_like(value))
