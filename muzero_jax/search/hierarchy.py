"""A hierarchy of two searches: one plans with jumps of several steps, and the hidden state that it
means to reach is a goal for the search over single actions.

Goals in the space of hidden states: FeUdal networks (Vezhnevets et al. 2017). Planning over learned
macro actions: Ozair et al. 2021, "Vector Quantized Models for Planning".
"""

import dataclasses
from typing import Self

import jax
import mctx

from muzero_jax.networks.jump import jump_model
from muzero_jax.search.base import Search, SearchWrapper, grow, log
from muzero_jax.types import Array, Decision, Key, Model, Params, Root


def jumping(model: Model) -> Model:
  """The model as one whose actions are its macro actions, and whose steps are its jumps."""
  jumps = jump_model(model)

  def predict(params: Params, hidden: Array) -> tuple[Array, Array]:
    return jumps.prior(params, hidden), model.predict(params, hidden)[1]

  def step(params: Params, hidden: Array, macro: Array) -> tuple[Array, Array]:
    return jumps.step(params, hidden, jax.nn.one_hot(macro, jumps.macros))

  return model._replace(predict=predict, step=step)


@dataclasses.dataclass(frozen=True)
class Hierarchy(SearchWrapper):
  """A search whose prior at the root is a mixture: the policy's, and that of what leads to a goal.

  The goal is the hidden state after the macro action that the planner chooses. It is chosen anew at
  every agent step. The mixture, not the product, is what the policy learns to be: its errors cannot
  add up over updates until one action is certain. The simulations of the planner are not counted.
  """

  planner: Search  # made with `jumping`, and the discount of a jump
  model: Model
  share: float  # of the policy that pursues the goal

  def for_evaluation(self) -> Self:
    return dataclasses.replace(super().for_evaluation(), planner=self.planner.for_evaluation())

  def for_reanalysis(self) -> Self:
    return dataclasses.replace(super().for_reanalysis(), planner=self.planner.for_reanalysis())

  def grow(self, params: Params, key: Key, root: Root) -> tuple[Decision, mctx.Tree | None]:
    """See `base.SearchWrapper`. The tree is that of single actions, not the planner's."""
    jumps = jump_model(self.model)
    plan_key, search_key = jax.random.split(key)
    start = Root(root.hidden, jumps.prior(params, root.hidden), root.value)
    plan = self.planner(params, plan_key, start)
    goal, _ = jumps.step(params, root.hidden, jax.nn.one_hot(plan.action, jumps.macros))
    pursuit = jax.nn.softmax(jumps.reach(params, root.hidden, goal))
    prior = jax.nn.softmax(root.policy_logits)
    logits = log((1 - self.share) * prior + self.share * pursuit)
    return grow(self.search, params, search_key, dataclasses.replace(root, policy_logits=logits))
