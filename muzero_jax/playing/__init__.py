"""A person plays a game, and the agent of a run says what it thinks of each step."""
