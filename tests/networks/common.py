"""Sizes that all tests of networks use."""

from muzero_jax.networks.scalars import Support

ACTIONS, STACK = 3, 4
SUPPORT = Support(5)  # 11 bins
