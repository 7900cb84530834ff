"""Tests of muzero_jax/envs."""
