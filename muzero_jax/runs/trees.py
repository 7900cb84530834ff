"""Pytrees by the paths of their leaves: what a checkpoint has, and what is asked of it."""

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp


def shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  """Maps the path of every leaf to its shape.

  Paths do not depend on whether a node is a dataclass, a tuple or a dictionary, because orbax's
  metadata has dictionaries in place of dataclasses.
  """

  def shape(leaf: Any) -> tuple[int, ...]:
    is_key = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return tuple((jax.random.key_data(leaf) if is_key else leaf).shape)

  leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {_name(path): shape(leaf) for path, leaf in leaves}


def named(tree: Any) -> dict[str, Any]:
  """Maps the path of every leaf to the leaf; `filled` takes such a dictionary, too."""
  return {_name(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def without(tree: Any, names: set[str], path: str = "") -> Any:
  """Removes the leaves with these paths from a tree.

  A dataclass that contains a removed leaf becomes a dictionary; all other parts of the tree stay as
  they are.
  """
  if not names:
    return tree
  if dataclasses.is_dataclass(tree):
    tree = {field.name: getattr(tree, field.name) for field in dataclasses.fields(tree)}
  if not isinstance(tree, dict):
    return tree
  inner = {key: (value, f"{path}{key}") for key, value in tree.items()}
  missing = {
    key
    for key, (_, name) in inner.items()
    if any(x == name or x.startswith(f"{name}/") for x in names)
  }
  kept = {
    key: without(value, names, f"{name}/") if key in missing else value
    for key, (value, name) in inner.items()
  }
  return {
    key: value
    for key, value in kept.items()
    if inner[key][1] not in names and not (key in missing and value == {})
  }


def filled(tree: Any, found: Any) -> Any:
  """Replaces the leaves of `tree` by those of `found` with the same path, where there are any."""
  leaves = named(found)
  return jax.tree_util.tree_map_with_path(lambda path, leaf: leaves.get(_name(path), leaf), tree)


def _name(path: Any) -> str:
  """Formats a leaf's path: "learner/params/model/...", for dataclasses and dictionaries alike."""
  return "/".join(re.findall(r"\w+", jax.tree_util.keystr(path)))
