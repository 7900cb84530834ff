"""Evaluates agents: plays full episodes and computes scores of one run and of several runs."""
