"""Measuring: a run's parts as programs of their own, stand-ins, operations, sizes and costs."""
