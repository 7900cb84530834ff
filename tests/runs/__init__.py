"""Tests of muzero_jax/search."""
