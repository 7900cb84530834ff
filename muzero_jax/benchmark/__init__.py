"""Measures the speed and memory of a run and of its parts, for `launch.benchmark`."""
