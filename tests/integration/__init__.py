"""Whole commands and whole runs."""
