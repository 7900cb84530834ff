"""Presents runs to a reader: plots, and an HTML report."""
