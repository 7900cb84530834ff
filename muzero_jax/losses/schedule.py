"""Loss terms that count during a part of the run only."""

import jax.numpy as jnp

from muzero_jax.types import Array, Context, Params, Term


def during(term: Term, begin: int = 0, end: int = 0) -> Term:
  """The term from gradient step `begin` on, and before `end`; with `end` 0 to the end of the run.

  Elsewhere its loss is 0. It is computed there all the same: a compiled program has one shape.
  """

  def loss(params: Params, context: Context) -> Array:
    counts = context.step >= begin
    if end:
      counts &= context.step < end
    return jnp.where(counts, term.loss(params, context), 0.0)

  return Term(term.init, loss)
