"""Tests of muzero_jax/networks/cpu."""
