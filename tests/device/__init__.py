"""Tests of muzero_jax/device."""
