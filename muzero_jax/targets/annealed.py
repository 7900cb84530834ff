"""Returns whose n and discount are annealed (BBF, Schwarzer et al. 2023, section 4).

At first, and after each reset of the network, long returns carry rewards back fast, and a small
discount makes values easy to learn. Later n falls, for less bias, and the horizon grows.
"""

import dataclasses

import jax.numpy as jnp

from muzero_jax.targets.bootstrap import TargetNetwork
from muzero_jax.targets.maker import TargetMaker
from muzero_jax.types import Array, Example, Key, Params, Targets


@dataclasses.dataclass(frozen=True)
class Annealed:
  """Makes targets, with n and discount by the number of gradient steps done.

  Both change exponentially, n in n and the discount d in 1 - d.
  """

  maker: TargetMaker  # its returns have the last n and discount; examples are long enough for all n
  n_step: int  # the first n
  discount: float  # the first discount
  steps: int  # gradient steps until the last n and discount are reached
  period: int = 0  # gradient steps between resets of the network, after which it begins again
  resets: int = 0  # how many of these there are; 0: it never begins again

  def at(self, step: Array) -> tuple[Array, Array]:
    """n, i32[], and the discount, f32[], after `step` gradient steps, i32[]."""
    since = step
    if self.resets:
      since = step - self.period * jnp.minimum(step // self.period, self.resets)
    share = jnp.minimum(since / self.steps, 1.0)
    last = self.maker.returns
    n = self.n_step * (last.n_step / self.n_step) ** share
    shortfall = (1 - self.discount) * ((1 - last.discount) / (1 - self.discount)) ** share
    return jnp.round(n).astype(jnp.int32), 1 - shortfall

  def __call__(self, target_params: Params, key: Key, example: Example) -> Targets:
    """The targets of examples [N, ...], as `TargetMaker` makes them."""
    n, discount = self.at(target_params["step"])
    longest = max(self.n_step, self.maker.returns.n_step)
    returns = dataclasses.replace(
      self.maker.returns, n_step=longest, discount=discount, bootstrap_after=n
    )
    bootstrap = self.maker.bootstrap
    if isinstance(bootstrap, TargetNetwork):
      bootstrap = dataclasses.replace(bootstrap, n=n)
    maker = dataclasses.replace(self.maker, returns=returns, bootstrap=bootstrap)
    return maker(target_params, key, example)
