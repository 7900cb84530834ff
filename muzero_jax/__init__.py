"""MuZero and Gumbel MuZero on Atari, end to end on the accelerator, in JAX."""

__version__ = "0.1.0"
