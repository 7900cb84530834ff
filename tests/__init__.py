"""The tests, in the package's rooms."""
