"""Searches: from a root to a decision. The only place that knows mctx."""
