"""Periodic resets of a network against its loss of plasticity (Nikishin et al. 2022; BBF, Schwarzer
et al. 2023, section 4).
"""

import dataclasses

import jax

from muzero_jax.types import Array, Key, Params

# Partially reset modules, except submodules with these names.
TRUNK = ("representation", "dynamics")
HEADS = ("Logits", "Head")


@dataclasses.dataclass(frozen=True)
class Resets:
  """When and how parameters are reset.

  Encoder and dynamics are shrunk and perturbed (Ash and Adams 2020): old parameters times `kept`
  and new ones times 1 - `kept`. Heads, and what loss terms have of their own, begin anew.
  """

  period: int  # gradient steps between resets
  end: int  # no reset after this many gradient steps
  kept: float = 0.5

  def due(self, step: Array) -> Array:
    """Whether to reset after gradient step number `step`, i32[], counted from 1; bool[]."""
    return (step % self.period == 0) & (step <= self.end)

  @property
  def count(self) -> int:
    """How many resets there are in a run."""
    return max(self.end // self.period, 0)

  def __call__(self, params: Params, fresh: Params) -> Params:
    """The parameters after a reset.

    Args:
      params: {"model": ..., one entry per loss term with parameters}.
      fresh: new ones, as at the beginning of a run.
    """

    def one(path: tuple, old: Array, new: Array) -> Array:
      names = [str(getattr(key, "key", "")) for key in path]
      trunk = names[0] == "model" and names[1] in TRUNK
      head = any(name.startswith(HEADS) for name in names)
      return self.kept * old + (1 - self.kept) * new if trunk and not head else new

    return jax.tree_util.tree_map_with_path(one, params, fresh)


def key_of(vector: Array, step: Array) -> Key:
  """A random key that depends on the parameters and the gradient step only.

  It is the same on all devices, as these are, and another one for another seed.

  Args:
    vector: f32[size], the parameters.
    step: i32[], gradient steps done.
  """
  bits = jax.lax.bitcast_convert_type(vector[0], "uint32")
  return jax.random.fold_in(jax.random.fold_in(jax.random.key(0), bits), step)
