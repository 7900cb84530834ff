"""The replay buffer on the device: a ring buffer that stores every frame once, and samplers."""
