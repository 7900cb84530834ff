"""Tests of muzero_jax/reporting/sections."""
