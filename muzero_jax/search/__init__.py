"""Searches, which turn a `Root` into a `Decision`. Only this folder imports mctx."""
