"""Networks, and the conversion of values and rewards to categorical distributions."""
