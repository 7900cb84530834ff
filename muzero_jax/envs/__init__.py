"""Environments: batches of games behind `reset`, `send` and `recv` (see `base.py`)."""
