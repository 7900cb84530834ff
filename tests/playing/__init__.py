"""Tests of muzero_jax/evaluation."""
