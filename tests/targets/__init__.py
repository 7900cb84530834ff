"""Tests of muzero_jax/targets."""
