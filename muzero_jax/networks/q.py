"""A head that predicts Q of every action from a hidden state in one forward pass, as DQN does."""

import flax.linen as nn
import jax
import optax

from muzero_jax.networks.heads import initializer, part
from muzero_jax.networks.model import Logits, apply
from muzero_jax.networks.scalars import Support
from muzero_jax.types import Array, Model, Params, QHead


class Head(nn.Module):
  """Hidden state [N, ...] -> f32[N, A, outputs]; all 0 at initialization."""

  width: int
  num_actions: int
  outputs: int

  @nn.compact
  def __call__(self, hidden: Array) -> Array:
    x = Logits(self.width, self.num_actions * self.outputs)(hidden)
    return x.reshape(-1, self.num_actions, self.outputs)


def with_q(
  model: Model,
  num_actions: int,
  frames: jax.ShapeDtypeStruct,
  support: Support | None = None,
  width: int = 64,
) -> Model:
  """Adds a Q head to a model. Its parameters are an entry "q" of the model's, so that searches and
  the target network have them, too. The other parameters are initialized as without it.

  Args:
    model: without a Q head.
    num_actions: A.
    frames: shape and dtype of one stack, [S, *frame_shape].
    support: Q is categorical over it, and its loss a cross-entropy; None: Q is a plain number per
      action, in units of return, and its loss Huber's with delta 1 (Mnih et al. 2015).
    width: of the head's hidden layer.
  """
  head = Head(width, num_actions, support.bins if support else 1)
  init = initializer(model, frames, "q", head, 1)

  def logits(params: Params, hidden: Array) -> Array:
    return apply(head, params["q"], hidden)

  if support:
    own = QHead(
      logits,
      support.decode,
      lambda x, q: optax.softmax_cross_entropy(x, support.encode(q)),
    )
  else:
    own = QHead(logits, lambda x: x[..., 0], lambda x, q: optax.huber_loss(x[..., 0], q))
  return model._replace(init=init, q=own)


def q_values(model: Model, params: Params, hidden: Array) -> Array:
  """Q of every action in hidden states [N, ...], f32[N, A], in units of return.

  Raises:
    ValueError: the model has no Q head.
  """
  head = q_head(model)
  return head.decode(head.logits(params, hidden))


def q_head(model: Model) -> QHead:
  """The model's Q head. Raises ValueError if it has none."""
  return part(model.q, "the model has no Q head: add one by `networks.q.with_q`")
