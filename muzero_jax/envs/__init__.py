"""Batched environments that share one interface: `reset`, `send` and `recv` (see `base.py`)."""
