"""Combinations of settings that are refused, each in a sentence with the flag and a remedy."""

from muzero_jax.config import Config, ConfigError, has_q_head

# Kinds of environments written in JAX: their states are arrays, which can be saved, and several
# seeds can be trained side by side.
IN_JAX = ("catch", "gymnax", "jaxtari", "custom")

# Each is whether it is broken, and the sentence for it.
Rules = list[tuple[bool, str]]


def check(config: Config) -> None:
  """Raises ConfigError for the first combination of settings that is not allowed."""
  for rules in (environment, examples, losses, searching, q_head):
    for broken, sentence in rules(config):
      if broken:
        raise ConfigError(sentence)


def environment(config: Config) -> Rules:
  """Rules about the environment, its network, its evaluation and how a run resumes."""
  return [
    (
      config.env.kind == "catch"
      and config.network.kind == "resnet"
      and config.network.size != "grid",
      "--env.kind=catch has frames of 10x5: use --network.kind=mlp or --network.size=grid.",
    ),
    (
      config.network.bins % 2 == 0 and config.network.bins > 0,
      f"--network.bins={config.network.bins}: must be odd, so that 0 is one of the values.",
    ),
    (
      config.learner.shift > 0 and config.env.kind == "catch",
      "--learner.shift would shift catch's board, which has no margin: use --learner.shift=0.",
    ),
    (
      config.evaluation.protocol == "100k" and config.env.full_action_set,
      "--evaluation.protocol=100k needs a run without --env.full_action_set.",
    ),
    (
      config.resume == "exact" and not config.checkpoint.replay,
      "--resume=exact needs the replay as it was: use --checkpoint.replay, or --resume=episodes.",
    ),
  ]


def examples(config: Config) -> Rules:
  """Rules about the replay and the targets."""
  targets = config.targets
  return [
    (
      config.replay.anneal and config.replay.kind != "prioritized",
      "--replay.anneal is about importance weights, which uniform sampling does not have: use "
      "--replay.kind=prioritized.",
    ),
    (
      targets.correction != "none" and targets.bootstrap != "target",
      f"--targets.correction={targets.correction} compares with the policy of the target "
      "network: use --targets.bootstrap=target.",
    ),
    (
      targets.correction != "none" and acts_by_halving(config),
      f"--targets.correction={targets.correction} needs the probability of the action "
      "taken, which sequential halving does not give: use --search.acting=sample, or "
      "--search.kind=none or puct.",
    ),
    (
      targets.correction != "none" and not (config.loss.policy or config.loss.policy_gradient),
      f"--targets.correction={targets.correction} needs the policy head, which no loss trains: use "
      "--loss.policy=1.",
    ),
    (
      targets.correction == "vtrace" and config.loss.q > 0,
      "--loss.q learns returns of the action taken, which --targets.correction=vtrace weighs by "
      "the policy: use --targets.correction=retrace, or --loss.q=0.",
    ),
    (
      targets.bootstrap == "search" and config.search.kind == "q",
      "--targets.bootstrap=search needs a search, and --search.kind=q makes none: use q_double.",
    ),
    (
      targets.anneal > 0 and targets.first_n_step < targets.n_step,
      f"--targets.first_n_step={targets.first_n_step}: n falls when it is annealed: it must begin "
      "with at least --targets.n_step.",
    ),
    (
      targets.anneal > 0 and not targets.first_discount <= targets.discount < 1,
      f"--targets.first_discount={targets.first_discount}: the discount rises when it is annealed, "
      "from at most --targets.discount, which must be below 1.",
    ),
    (
      targets.novelty > 0 and not config.loss.novelty,
      "--targets.novelty needs a predictor that knows old frames, which is not learned: set "
      "--loss.novelty.",
    ),
  ]


def losses(config: Config) -> Rules:
  """Rules about the loss terms."""
  loss = config.loss
  terms = (
    "reward",
    "value_prefix",
    "value",
    "policy",
    "policy_gradient",
    "q",
    "q_search",
    "custom",
  )
  return [
    (
      not any(getattr(loss, name) for name in terms),
      "--loss.reward, --loss.value, --loss.policy and --loss.policy_gradient are all 0: nothing "
      "would be learned.",
    ),
    (
      loss.policy_gradient > 0 and acts_by_halving(config),
      "--loss.policy_gradient needs the probability of the action taken, which sequential halving "
      "does not give: use --search.acting=sample, or --search.kind=none or puct.",
    ),
    (
      loss.value_prefix > 0 and loss.reward > 0,
      "--loss.value_prefix takes the place of single rewards, which would not be learned: use "
      "--loss.reward=0.",
    ),
    (
      loss.value_prefix > 0 and not config.targets.discount,
      "--loss.value_prefix finds rewards by dividing by the discount: use a --targets.discount "
      "above 0.",
    ),
    (
      loss.reconstruction > 0 and config.learner.shift > 0,
      "--loss.reconstruction cannot show frames that are shifted at random: use --learner.shift=0.",
    ),
    (
      loss.pretrain > 0 and not (loss.reconstruction or loss.consistency),
      "--loss.pretrain needs a loss without rewards: use --loss.reconstruction or "
      "--loss.consistency.",
    ),
    (
      0 < loss.reconstruction_until < loss.pretrain and not loss.consistency,
      "--loss.pretrain lasts longer than --loss.reconstruction_until, so that nothing would be "
      "learned in between: lower it.",
    ),
    (
      loss.jump > 0 and loss.jump_steps > config.targets.unroll,
      f"--loss.jump_steps={loss.jump_steps}: jumps are learned from the unroll, which has "
      f"{config.targets.unroll} steps: lower it, or raise --targets.unroll.",
    ),
    (
      loss.jump > 0 and loss.value_prefix > 0,
      "--loss.jump passes over the steps that a value prefix adds up: use --loss.value_prefix=0.",
    ),
    (
      loss.short_value > 0 and loss.short_discount >= config.targets.discount,
      f"--loss.short_discount={loss.short_discount}: the second value must have the shorter "
      "horizon, a discount below --targets.discount.",
    ),
  ]


def acts_by_halving(config: Config) -> bool:
  """Whether actions are winners of sequential halving, whose probability is not known."""
  return config.search.kind == "gumbel" and config.search.acting == "halving"


def searching(config: Config) -> Rules:
  """Rules about the search and what is wrapped around it."""
  search = config.search
  return [
    (
      search.kind == "puct" and search.qtransform in ("advantage", "skill"),
      f"--search.qtransform={search.qtransform} is not for --search.kind=puct, which "
      "needs Q in 0..1: use tree or node.",
    ),
    (
      search.kind == "none" and search.qtransform in ("tree", "node"),
      f"--search.qtransform={search.qtransform} needs a tree, and --search.kind=none has "
      "none: use advantage, skill or auto.",
    ),
    (
      search.tree == "rounds" and search.kind != "gumbel",
      f"--search.tree=rounds needs sequential halving, which --search.kind={search.kind} "
      "does not have: use mctx or batched, or --search.kind=gumbel.",
    ),
    (
      search.improvement != "visits" and search.kind != "puct",
      f"--search.improvement={search.improvement} is for --search.kind=puct; the policy "
      f"target of --search.kind={search.kind} is regularized already: use visits.",
    ),
    (
      search.equivalence > 0 and search.kind == "none",
      "--search.equivalence saves simulations of a tree, and --search.kind=none has none: use "
      "--search.kind=gumbel or puct.",
    ),
    (
      search.second_share > 0 and not config.loss.second_value,
      "--search.second_share needs a second value, which is not learned: set --loss.second_value.",
    ),
    (
      search.goal_share > 0 and not config.loss.jump,
      "--search.goal_share needs a model that jumps, which is not learned: set --loss.jump.",
    ),
    (
      (search.optimism > 0 or search.focus) and not config.loss.uncertainty,
      "--search.optimism and --search.focus need a predicted uncertainty, which is not learned: "
      "set --loss.uncertainty.",
    ),
    (
      config.network.uncertainty == "ensemble" and not config.loss.uncertainty,
      "--network.uncertainty=ensemble is not learned: set --loss.uncertainty.",
    ),
    (
      search.focus and search.kind == "none",
      "--search.focus spends the simulations of a tree, and --search.kind=none has none: use "
      "--search.kind=gumbel or puct.",
    ),
    (
      search.focus and config.loss.q_search > 0,
      "--loss.q_search needs the Q of a search, and --search.focus does not search every step: use "
      "--loss.q.",
    ),
    (
      search.focus and search.optimism > 0,
      "--search.focus and --search.optimism are two uses of one uncertainty: use one of them.",
    ),
  ]


def q_head(config: Config) -> Rules:
  """Rules about the Q head and acting by it."""
  acts, bootstrap = config.search.kind == "q", config.targets.bootstrap
  around = [
    name
    for name in ("equivalence", "second_share", "focus", "optimism", "q_prior", "goal_share")
    if getattr(config.search, name)
  ]
  unrolled = ("reward", "value_prefix", "consistency", "distillation")
  without, still = not has_q_head(config), config.targets.unroll == 0
  return [
    (
      config.search.q_prior > 0 and without,
      "--search.q_prior needs a Q head that is trained: use --loss.q=1.",
    ),
    (acts and without, "--search.kind=q needs a Q head that is trained: use --loss.q=1."),
    (
      bootstrap.startswith("q_") and without,
      f"--targets.bootstrap={bootstrap} needs a Q head that is trained: use --loss.q=1.",
    ),
    (
      acts and config.loss.q_search > 0,
      "--loss.q_search needs the Q of a search, and with --search.kind=q that is the head's own: "
      "use --loss.q.",
    ),
    (
      acts and config.search.qtransform != "auto",
      f"--search.qtransform={config.search.qtransform} improves a prior, and --search.kind=q acts "
      "by Q alone: use auto.",
    ),
    (
      acts and bool(around),
      f"--search.kind=q makes no search for --search.{', --search.'.join(around)} to change: set "
      "it to 0.",
    ),
    (
      still and not acts,
      f"--targets.unroll=0 leaves the model untrained, which --search.kind={config.search.kind} "
      "needs: use at least 1, or --search.kind=q.",
    ),
    (
      still and config.log_drift,
      "--targets.unroll=0 has no steps along which --log_drift could measure: leave it out.",
    ),
    (
      still and any(getattr(config.loss, name) > 0 for name in unrolled),
      f"--targets.unroll=0 has no steps for --loss.{', --loss.'.join(unrolled)}: set them to 0.",
    ),
    (
      acts and not config.loss.value and bootstrap == "target",
      "--targets.bootstrap=target needs the value head, which --loss.value=0 does not train: use "
      "q_double.",
    ),
    (
      acts and not config.loss.value and config.replay.kind == "prioritized",
      "--replay.kind=prioritized needs the error of the value head, which --loss.value=0 does not "
      "train: use --loss.value=0.25.",
    ),
  ]
