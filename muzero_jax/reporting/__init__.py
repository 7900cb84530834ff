"""What a reader sees of runs: plots and a page."""
