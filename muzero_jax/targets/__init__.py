"""Targets, made when they are learned from: values, rewards and policies for the unroll of an
example.
"""
