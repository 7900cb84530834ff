"""Fast convolutions for XLA:CPU: custom gradients, Winograd's algorithm, and chunks that fit into
the cache (docs/cpu_convolutions.md).
"""
