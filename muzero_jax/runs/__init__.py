"""A run on disk: its folder, metrics, checkpoints, and how they are read back."""
