"""The folder of a run on disk: writes and reads its settings, metrics and checkpoints."""
