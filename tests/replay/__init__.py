"""Tests of muzero_jax/replay."""
