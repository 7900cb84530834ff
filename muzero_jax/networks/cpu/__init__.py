"""Convolutions for XLA:CPU: with gradients of their own, Winograd's, in parts that fit the
cache.
"""
