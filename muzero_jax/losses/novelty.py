"""The loss of the predictor of random network distillation (Burda et al. 2018): its error on the
newest frame of each example.

The predictor's parameters are among the model's (`networks.novelty.with_novelty`).
"""

from muzero_jax.losses.common import no_parameters
from muzero_jax.networks import novelty as networks
from muzero_jax.types import Array, Context, Model, Params, Term


def novelty(model: Model, stack: int) -> Term:
  """Makes the loss term.

  Args:
    model: with a predictor.
    stack: S.
  """

  def loss(params: Params, context: Context) -> Array:
    return networks.novelty(model, params["model"], context.example.frames[:, stack - 1])

  return Term(no_parameters, loss)
