"""Networks: the MuZero model and its categorical scalars."""
