"""Training targets: rewards, values and policies, computed when an example is sampled."""
