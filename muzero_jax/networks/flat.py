"""All parameters as one vector, so that an optimizer is a few operations, not some for each array.

A gradient step on a network of 40 arrays would otherwise be hundreds of small kernels: to launch on
a GPU, and to compile.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from muzero_jax.types import Array, Params


@dataclasses.dataclass(frozen=True)
class Layout:
  """Where each array of a pytree is in the vector. Those with several axes come first.

  Args:
    structure: of the pytree.
    shapes: of its leaves, in the order of the pytree.
  """

  structure: Any
  shapes: tuple[tuple[int, ...], ...]

  @property
  def size(self) -> int:
    """Entries of the vector."""
    return sum(map(math.prod, self.shapes))

  @property
  def matrices(self) -> int:
    """Entries of the vector, from its beginning, that are of arrays with several axes."""
    return sum(math.prod(shape) for shape in self.shapes if len(shape) > 1)

  @property
  def _order(self) -> list[int]:
    return sorted(range(len(self.shapes)), key=lambda i: len(self.shapes[i]) < 2)

  def flat(self, tree: Params) -> Array:
    """The vector f32[size] of a pytree of f32 arrays."""
    leaves = self.structure.flatten_up_to(tree)
    return jnp.concatenate([leaves[i].reshape(-1) for i in self._order])

  def tree(self, vector: Array) -> Params:
    """The pytree of a vector f32[size]."""
    leaves, at = [vector] * len(self.shapes), 0
    for i in self._order:
      size = math.prod(self.shapes[i])
      leaves[i] = vector[at : at + size].reshape(self.shapes[i])
      at += size
    return jax.tree.unflatten(self.structure, leaves)


def layout(tree: Params) -> Layout:
  """The layout of a pytree of arrays, or of `jax.ShapeDtypeStruct`."""
  leaves, structure = jax.tree.flatten(tree)
  return Layout(structure, tuple(leaf.shape for leaf in leaves))


def by_array(state: Any, params: Params) -> Any:
  """An optimizer's state as it is without this module: with a pytree in place of each vector."""
  place = layout(params)
  return jax.tree.map(lambda x: place.tree(x) if x.shape == (place.size,) else x, state)


def as_vectors(state: Any, found: Any, params: Params) -> Any:
  """The inverse of `by_array`.

  Args:
    state: an optimizer's state with vectors, which gives the structure and where the arrays are.
    found: the same by array.
    params: the parameters.
  """
  place = layout(params)

  def one(x: Array, y: Any) -> Array:
    return jax.device_put(place.flat(y), x.sharding) if x.shape == (place.size,) else y

  return jax.tree.map(one, state, found)
