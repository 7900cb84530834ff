"""Loss terms: each one function of the parameters and a `Context`, with its own parameters where it
has any.
"""
