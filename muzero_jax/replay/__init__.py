"""Replay on the device: a ring of steps in which every frame is stored once, and ways to sample
examples from it.
"""
