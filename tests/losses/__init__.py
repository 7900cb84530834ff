"""Tests of muzero_jax/losses."""
