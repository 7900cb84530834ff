"""The commands, one module for each; `__main__.py` selects one of them."""
