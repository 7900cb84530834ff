"""MuZero and Gumbel MuZero on Atari, end to end on the accelerator, in JAX."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
  """What `muzero_jax.api` offers; it is imported, and JAX with it, when first asked for."""
  if name in ("make_config", "train_agent", "load_agent", "export_agent"):
    from importlib import import_module

    return getattr(import_module("muzero_jax.api"), name)
  raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
