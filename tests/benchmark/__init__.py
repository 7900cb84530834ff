"""Tests of muzero_jax/benchmark."""
