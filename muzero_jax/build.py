"""Builds the components of a run from its configuration: one `make_...` function per component.

No component knows the configuration; an option is connected to the code here, and only here.
"""

import dataclasses
from fractions import Fraction
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from muzero_jax import actor, custom, diagnostics, rules
from muzero_jax import config as configs
from muzero_jax.config import Config, ConfigError, has_q_head
from muzero_jax.device import chips, parallel
from muzero_jax.device.chips import Target
from muzero_jax.diagnostics import Calibration, Monitor
from muzero_jax.envs import actions, catch, envpool, pure
from muzero_jax.envs.base import Environment, Spec
from muzero_jax.learner import Learner
from muzero_jax.loop import Local, Loop, Shared
from muzero_jax.losses import (
  consistency,
  distillation,
  ensemble,
  entropy,
  jump,
  muzero,
  policy_gradient,
  reconstruction,
  schedule,
  second_value,
  short_value,
  uncertainty,
  value_prefix,
)
from muzero_jax.losses import novelty as novelty_losses
from muzero_jax.losses import q as q_losses
from muzero_jax.networks import gaussian, hadamax, mlp, resnet, vector
from muzero_jax.networks import model as networks
from muzero_jax.networks.ensemble import with_ensemble
from muzero_jax.networks.flat import Layout
from muzero_jax.networks.heads import hidden_state
from muzero_jax.networks.horizon import with_second_value
from muzero_jax.networks.jump import with_jumps
from muzero_jax.networks.novelty import with_novelty
from muzero_jax.networks.prefix import with_value_prefix
from muzero_jax.networks.q import with_q
from muzero_jax.networks.resets import Resets
from muzero_jax.networks.scalars import Support
from muzero_jax.networks.uncertainty import with_uncertainty
from muzero_jax.replay.frames import Ring
from muzero_jax.replay.sampling import Prioritized, Sampler, Uniform
from muzero_jax.search.base import Search
from muzero_jax.search.equivalent import Classes, Equivalent
from muzero_jax.search.gumbel import Gumbel
from muzero_jax.search.hierarchy import Hierarchy, jumping
from muzero_jax.search.horizons import TwoHorizons, mixed
from muzero_jax.search.none import NoSearch
from muzero_jax.search.puct import Puct
from muzero_jax.search.q import QSearch
from muzero_jax.search.q_prior import QPrior, with_q_prior
from muzero_jax.search.uncertain import Calibrated, Focused, Optimistic, optimistic
from muzero_jax.targets import bootstrap, correction, policy
from muzero_jax.targets import q as q_targets
from muzero_jax.targets.annealed import Annealed
from muzero_jax.targets.maker import TargetMaker
from muzero_jax.targets.novelty import IntrinsicRewards
from muzero_jax.targets.returns import Returns
from muzero_jax.types import Model, T, Term


@dataclasses.dataclass(frozen=True)
class Run:
  """The components of a run, and the devices they run on."""

  config: Config
  target: Target
  loop: Loop
  # Agent steps done when the environments were seeded: when this process started, but for
  # --resume=exact. It enters the random seeds: a resumed run must not repeat the random numbers of
  # its beginning.
  begun: int = 0

  @property
  def devices(self) -> Mesh:
    """The devices that the run is mapped over."""
    return self.target.devices

  @property
  def width(self) -> int:
    """Agent steps per tick, over all devices of all processes."""
    return self.devices.size * self.loop.environment.spec.num_envs

  def shared(self) -> Shared:
    """The initial replicated state: the learner and the count of ticks."""
    learner = jax.jit(self.loop.learner.init)(jax.random.key(self.config.seed))
    return parallel.replicate(Shared(learner, jnp.zeros((), jnp.int32)), self.devices)

  def local(self) -> Local:
    """The initial state of each device: environments after a reset, and an empty replay.

    A device's random numbers depend on its place among the devices of all processes.
    """
    key = jax.random.fold_in(jax.random.key(self.config.seed), (1 + self.begun) % 2**32)
    keys = jax.random.split(key, 2 * self.devices.size)
    states, own = [], parallel.own(self.devices)
    for device in own:
      env_key, key = keys[2 * device : 2 * device + 2]
      spec = self.loop.environment.spec
      player = actor.new_actor(
        self.loop.environment.reset(env_key, device - own.start), spec.num_envs, spec.num_actions
      )
      states.append((player, key))
    players, keys = parallel.stack(states, self.devices)
    replays = jax.jit(
      jax.vmap(lambda _: self.loop.ring.init()), out_shardings=jax.tree.leaves(keys.sharding)[0]
    )(np.arange(self.devices.size))
    return Local(players, replays, keys, parallel.split(jnp.zeros(len(own)), self.devices))


def build(config: Config, begun: int = 0, target: Target | None = None) -> Run:
  """Builds all components of a run.

  Args:
    config: the settings.
    begun: for a run that is resumed, the agent steps done when its environments are seeded.
    target: the devices it is for; by default those of this process.

  Raises:
    ConfigError: the settings cannot be combined, or do not fit the environment.
  """
  target = target or chips.local()
  devices, platform = target.devices, target.platform
  config, own = per_device(config, devices.size), parallel.own(devices)
  seed = env_seed(config.seed, begun) + own.start * config.env.num_envs
  environment = make_environment(config, num_pools=len(own), seed=seed, target=target)
  spec = environment.spec
  check_frames(config, spec)
  model = make_model(config, spec, platform)
  search = make_search(config, model, platform)
  ring = make_ring(config, spec, devices.size, platform)
  learner = make_learner(config, model, search, ring, platform)
  updates = Fraction(
    config.learner.updates_per_step * spec.num_envs * devices.size
  ).limit_denominator(1000)
  if config.learner.updates_per_step and not updates:
    raise ConfigError(
      f"--learner.updates_per_step={config.learner.updates_per_step}: that is less than one "
      "gradient step in 1000 ticks of "
      f"{spec.num_envs * devices.size} environments; use 0 for none."
    )
  return Run(
    config,
    target,
    Loop(
      environment,
      model,
      search,
      ring,
      learner,
      Calibration(config.targets.discount, config.targets.clip_rewards),
      updates=updates.numerator,
      every=updates.denominator,
      warmup=max(
        -(-config.replay.warmup // (spec.num_envs * devices.size)),
        ring.smallest(ring.stack, ring.window) + 1,
      ),
      monitors=make_monitors(config, model, ring),
    ),
    begun,
  )


def per_device(config: Config, devices: int) -> Config:
  """Replaces what is stated for all devices together by each device's share.

  Raises:
    ConfigError: a total cannot be shared equally.
  """
  shares = {}
  for total, share in (
    ("env.total_envs", "env.num_envs"),
    ("learner.total_batch_size", "learner.batch_size"),
  ):
    value = configs.values(config)[total]
    if value % devices:
      raise ConfigError(
        f"--{total}={value}: cannot be shared equally by {devices} devices; use a multiple of "
        f"{devices}."
      )
    if value:
      shares[share] = value // devices
  return configs.replace(config, shares)


def make_environment(
  config: Config, *, num_pools: int, seed: int, num_envs: int = 0, target: Target | None = None
) -> Environment:
  """Makes the environments that `config.env` describes.

  Args:
    config: the settings.
    num_pools: devices of this process; each has its own EnvPool pool.
    seed: of EnvPool and gymnasium; other environments get theirs in `reset`.
    num_envs: environments per device; 0: `config.env.num_envs`.
    target: the devices; by default those of this process. If they are not attached, no
      emulator is started.
  """
  env, target = config.env, target or chips.local()
  num_envs = num_envs or env.num_envs
  if env.kind == "catch":
    return pure.PureEnvironment(catch.catch(), num_envs)
  if env.kind == "custom":
    return pure.PureEnvironment(custom.game(env.task), num_envs)
  if env.kind == "gymnax":
    from muzero_jax.envs import gymnax  # an optional dependency

    return pure.PureEnvironment(gymnax.make(env.task, env.full_action_set), num_envs)
  if env.kind == "jaxtari":
    from muzero_jax.envs import jaxtari  # an optional dependency

    return pure.PureEnvironment(jaxtari.make(env.task, atari(config)), num_envs)
  if env.kind == "gymnasium":
    from muzero_jax.envs import gymnasium  # an optional dependency

    return gymnasium.make(
      env.task, num_envs, num_pools=num_pools, seed=seed, started=target.attached
    )
  return envpool.make(
    env.task,
    num_envs,
    num_pools=num_pools,
    seed=seed,
    backend=env.backend,
    num_threads=env.num_threads,
    atari=atari(config),
    platform=target.platform,
    started=target.attached,
  )


def env_seed(seed: int, offset: int) -> int:
  """The seed that EnvPool gets in a run with the given seed.

  EnvPool seeds environment i with this number plus i; so that runs do not share environments, the
  numbers of different runs lie far apart. `offset` separates several uses within one run.
  """
  return (seed * 1_000_003 + offset * 10_007) % (2**31 - 1_000_000)


def restarts(config: Config) -> bool:
  """Whether the run's environments cannot be saved, so that a resumed run starts new episodes."""
  return config.env.kind not in rules.IN_JAX


def check_task(config: Config) -> None:
  """Checks that EnvPool, gymnax or JAXtari has the run's task; nothing is started.

  Raises:
    GameError: it has not.
  """
  if config.env.kind == "envpool":
    envpool.check_task(config.env.task)
  if config.env.kind == "gymnax":
    from muzero_jax.envs import gymnax  # an optional dependency

    gymnax.check_task(config.env.task, config.env.full_action_set)
  if config.env.kind == "jaxtari":
    from muzero_jax.envs import jaxtari  # an optional dependency

    jaxtari.check_task(config.env.task)


def is_atari(config: Config) -> bool:
  """Whether the run's environments are Atari games of EnvPool."""
  return actions.is_atari(config.env.kind, config.env.task)


def frames_per_step(config: Config) -> int:
  """Frames, of 1/60 s, per agent step of an Atari game, including JAXtari's; 0 for others."""
  timed = is_atari(config) or config.env.kind == "jaxtari"
  return config.env.frame_skip if timed else 0


def atari(config: Config) -> envpool.Atari:
  """The configured Atari settings, as `envs/envpool.py` takes them."""
  size = config.env.frame_size
  return from_settings(envpool.Atari, config.env, frame_height=size, frame_width=size)


def from_settings(kind: type[T], settings: Any, **given: Any) -> T:
  """Makes a component from the settings that have the names of its fields.

  Args:
    kind: a dataclass.
    settings: a group of the configuration.
    **given: fields that are not taken from the settings.
  """
  names = {field.name for field in dataclasses.fields(cast(Any, kind))}
  names &= {field.name for field in dataclasses.fields(settings)}
  return kind(**{name: getattr(settings, name) for name in names - set(given)}, **given)


def check_frames(config: Config, spec: Spec) -> None:
  """Raises ConfigError if the network or the augmentation cannot process the frames."""
  if config.network.kind != "mlp" and len(spec.frame_shape) == 1:
    raise ConfigError(
      f"{config.env.task} has observations of {spec.frame_shape[0]} numbers, not images: use "
      "--network.kind=mlp."
    )
  if config.learner.shift and len(spec.frame_shape) == 1:
    raise ConfigError(
      f"--learner.shift={config.learner.shift}: {config.env.task} has no images to shift."
    )


def make_model(config: Config, spec: Spec, platform: str = "cpu") -> Model:
  """Makes the network for the environment's frames and actions.

  Args:
    config: the settings.
    spec: of the environment.
    platform: of the devices: "cpu", "gpu" or "tpu".

  Raises:
    ConfigError: this kind of network does not exist in the size asked for.
  """
  kind, size = config.network.kind, config.network.size
  network, sizes = {
    "resnet": (resnet.resnet, resnet.SIZES),
    "vector": (vector.vector, vector.SIZES),
    "hadamax": (hadamax.hadamax, hadamax.SIZES),
    "mlp": (mlp.mlp, mlp.WIDTHS),
  }[kind]
  if size not in sizes:
    raise ConfigError(f"--network.size={size}: the {kind} network comes in {', '.join(sizes)}.")
  frames = jax.ShapeDtypeStruct((config.env.stack, *spec.frame_shape), spec.frame_dtype)
  support = make_support(config)
  dtype = jnp.dtype(config.network.precision)
  model = networks.make_model(network, size, spec.num_actions, support, frames, dtype, platform)
  model = with_second_value(model, frames) if config.loss.second_value else model
  if config.loss.uncertainty:
    kinds = {"head": with_uncertainty, "ensemble": with_ensemble}
    model = kinds[config.network.uncertainty](model, frames)
  if config.loss.jump:
    model = with_jumps(
      model, spec.num_actions, frames, config.loss.jump_steps, config.network.macros
    )
  model = with_novelty(model, frames) if config.loss.novelty else model
  of_q = support if config.network.q == "categorical" else None
  model = with_q(model, spec.num_actions, frames, of_q) if has_q_head(config) else model
  if not config.loss.value_prefix:
    return model
  return with_value_prefix(model, frames, config.targets.discount, config.loss.prefix_horizon)


def make_support(config: Config) -> Support:
  """Makes the coding of values and rewards as categorical distributions."""
  size, bins = config.network.support, config.network.bins
  if config.network.scalars == "gaussian":
    return gaussian.Gaussian(size, bins, config.network.sigma)
  return Support(size, bins)


def make_search(config: Config, model: Model, platform: str = "cpu") -> Search:
  """Makes the search for self-play; it has variants for evaluation and reanalysis.

  Args:
    config: the settings.
    model: the network.
    platform: of the devices: "cpu", "gpu" or "tpu".
  """
  share, temperature = config.search.second_share, config.search.q_prior
  search_model = make_search_model(config, model)
  search = make_plain_search(config, search_model, platform)
  bonus, simulations = config.search.optimism, 2 * config.search.num_simulations
  if bonus:
    with_bonus = make_plain_search(config, optimistic(search_model, bonus), platform)
    search = Optimistic(with_bonus, search, search_model, bonus)
  if config.search.focus:
    deep = configs.replace(config, {"search.num_simulations": simulations})
    search = Focused(make_plain_search(deep, search_model, platform), search, search_model)
  if config.search.equivalence:
    search = Equivalent(search, make_classes(config, model))
  if config.search.goal_share:  # around `Equivalent`, which makes actions illegal at the root
    planner = make_planner(config, search_model, platform)
    search = Hierarchy(search, planner, search_model, config.search.goal_share)
  search = QPrior(search, search_model) if temperature else search
  return TwoHorizons(search, search_model) if share else search


def make_search_model(config: Config, model: Model) -> Model:
  """The model that is searched: with the second value and the Q head's prior, where asked for."""
  share, temperature = config.search.second_share, config.search.q_prior
  model = mixed(model, share) if share else model
  return with_q_prior(model, temperature) if temperature else model


def make_planner(config: Config, model: Model, platform: str) -> Search:
  """Makes the search over jumps, of the same kind as the search over single actions."""
  simulations, discount = config.search.jump_simulations, config.targets.discount
  changes = {
    "search.num_simulations": simulations,
    "targets.discount": discount**config.loss.jump_steps,
  }
  return make_plain_search(configs.replace(config, changes), jumping(model), platform)


def make_classes(config: Config, model: Model) -> Classes:
  """Makes what finds the equivalent actions of the model that is searched, given the network."""
  search_model = make_search_model(config, model)
  return Classes(search_model, config.targets.discount, config.search.equivalence)


def make_plain_search(config: Config, model: Model, platform: str) -> Search:
  """Makes the search that --search.kind names, without what can be put around it."""
  search, discount = config.search, config.targets.discount
  depth = search.max_depth or None
  if search.kind == "q":
    epsilon = search.q_epsilon if search.q_acting == "epsilon" else 0.0
    return QSearch(model, search.q_acting, epsilon, search.q_temperature)
  kinds = {"none": "fixed", "puct": "tree", "gumbel": "node"}
  qtransform = kinds[search.kind] if search.qtransform == "auto" else search.qtransform
  if search.kind == "none":
    return NoSearch(model, discount, search.advantage_scale, search.advantage_clip, qtransform)
  kind = Puct if search.kind == "puct" else Gumbel
  return from_settings(
    kind,
    search,
    model=model,
    discount=discount,
    qtransform=qtransform,
    max_depth=depth,
    tree=tree_implementation(config, platform),
  )


def tree_implementation(config: Config, platform: str) -> str:
  """Resolves --search.tree=auto: the implementation that is fast on "cpu", "gpu" or "tpu"."""
  if config.search.tree != "auto":
    return config.search.tree
  on_gpu = "rounds" if config.search.kind == "gumbel" else "batched"
  return {"cpu": "mctx", "gpu": on_gpu}.get(platform, "batched")


def make_ring(config: Config, spec: Spec, num_devices: int, platform: str = "cpu") -> Ring:
  """Makes the replay's ring buffer for one device, on "cpu", "gpu" or "tpu".

  Raises:
    ConfigError: the capacity is too small for a single example.
  """
  targets = config.targets
  n = max(targets.n_step, targets.first_n_step) if targets.anneal else targets.n_step
  window = targets.unroll + n + 1
  loss = config.loss
  needs_later = targets.reanalyse or loss.consistency or loss.distillation
  needs_later = needs_later or loss.reconstruction or config.log_drift
  later = targets.unroll if needs_later else 0
  needs_all = targets.bootstrap != "recorded" or config.loss.second_value or targets.novelty
  later = window - 1 if needs_all else later
  rows = config.replay.capacity // (spec.num_envs * num_devices)
  smallest = Ring.smallest(config.env.stack, window)
  if rows < smallest:
    raise ConfigError(
      f"--replay.capacity={config.replay.capacity}: {num_devices * spec.num_envs} environments "
      "need at least "
      f"{smallest * num_devices * spec.num_envs} steps to complete one example each."
    )
  return Ring(
    rows,
    spec.num_envs,
    spec.num_actions,
    spec.frame_shape,
    spec.frame_dtype,
    stack=config.env.stack,
    unroll=targets.unroll,
    window=window,
    later=later,
    aligned=platform == "tpu",
  )


def make_learner(
  config: Config, model: Model, search: Search, ring: Ring, platform: str = "cpu"
) -> Learner:
  """Makes the learner with its targets, loss terms and optimizer, on "cpu", "gpu" or "tpu"."""
  return Learner(
    model,
    make_terms(config, model, ring),
    partial(make_optimizer, config),
    ring,
    make_sampler(config),
    make_targets(config, model, search),
    batch_size=config.learner.batch_size,
    target_period=config.learner.target_period,
    shift=config.learner.shift,
    limit=config.optimizer.limit or float("inf"),
    skips=config.skip_nonfinite,
    resets=make_resets(config),
    by_products=platform == "tpu",
  )


def gradient_steps(config: Config) -> int:
  """About how many gradient steps a run takes."""
  return round((config.env_steps - config.replay.warmup) * config.learner.updates_per_step)


def make_resets(config: Config) -> Resets | None:
  """Makes the resets of the network; none in the last part of a run, which would not recover."""
  period = config.learner.reset_every
  return Resets(period, end=gradient_steps(config) - period) if period else None


def make_sampler(config: Config) -> Sampler:
  if config.replay.kind == "prioritized":
    replay = config.replay
    steps = max(gradient_steps(config), 1) if replay.anneal else 0
    return Prioritized(replay.exponent, replay.correction, anneal_steps=steps)
  return Uniform()


def make_targets(config: Config, model: Model, search: Search) -> TargetMaker | Annealed:
  """Makes what computes the training targets: returns, bootstrap values and policies."""
  targets, stack = config.targets, config.env.stack
  values, policies = bootstrap.recorded, policy.recorded
  omega = 1 / config.search.q_temperature
  estimates = {
    "target": bootstrap.predicted,
    "search": bootstrap.Searched(search.for_reanalysis()),
    "q_max": q_targets.q_max,
    "q_double": q_targets.q_double,
    "q_mellowmax": partial(q_targets.q_mellowmax, omega=omega),
  }
  if targets.bootstrap != "recorded":
    values = bootstrap.TargetNetwork(
      model,
      stack,
      targets.unroll,
      targets.n_step,
      every_step=targets.td_lambda < 1 or targets.correction != "none",
      stale_after=targets.stale_after,
      estimate=estimates[targets.bootstrap],
    )
  if targets.reanalyse:
    policies = policy.Reanalyzed(
      model, search.for_reanalysis(), stack, targets.unroll, targets.reanalyse
    )
  ratios = correction.uncorrected
  if targets.correction != "none":
    ratios = correction.OffPolicy(model, stack, targets.correction)
  returns, rewards = make_returns(config), None
  if targets.novelty:
    weight, discount = targets.novelty, targets.discount
    rewards = IntrinsicRewards(model, stack, weight, discount, targets.clip_rewards)
  maker = TargetMaker(values, policies, returns, targets.unroll, ratios, rewards)
  if not targets.anneal:
    return maker
  first, resets = (targets.first_n_step, targets.first_discount), make_resets(config)
  again = dict(period=resets.period, resets=resets.count) if resets else {}
  return Annealed(maker, *first, steps=targets.anneal, **again)


def make_returns(config: Config) -> Returns:
  targets = config.targets
  return Returns(
    targets.n_step, targets.discount, targets.td_lambda, targets.clip_rewards, targets.stale_after
  )


def make_monitors(config: Config, model: Model, ring: Ring) -> tuple[Monitor, ...]:
  """Makes the metrics that are computed at every tick."""
  targets = config.targets
  skill = diagnostics.Skill(ring, make_returns(config))
  monitors: list[Monitor] = [diagnostics.search_metrics, skill]
  if config.log_drift:
    monitors.append(diagnostics.Drift(model, ring))
  env = config.env
  if classes := actions.equivalent(env.kind, env.task, env.full_action_set):
    monitors.append(diagnostics.EquivalentActionsQ(model, targets.discount, classes))
  if config.search.equivalence:
    monitors.append(make_classes(config, model))
  if config.loss.uncertainty:
    monitors.append(Calibrated(model, ring, make_returns(config)))
  return tuple(monitors)


def action_names(config: Config, num_actions: int) -> tuple[str, ...]:
  """The names of the run's actions; () where they are not known."""
  return actions.names(config.env.kind, config.env.task, num_actions)


def make_terms(config: Config, model: Model, ring: Ring) -> dict[str, tuple[float, Term]]:
  """Makes the loss terms: name -> weight and term. A term of weight 0 is not built."""
  stack = jax.ShapeDtypeStruct((ring.stack, *ring.frame_shape), ring.frame_dtype)
  hidden = hidden_state(model, stack)
  makers = {
    "reward": muzero.reward,
    "value_prefix": partial(
      value_prefix.value_prefix,
      discount=config.targets.discount,
      horizon=config.loss.prefix_horizon,
    ),
    "value": partial(muzero.value, steps=config.loss.steps),
    "policy": partial(muzero.policy, steps=config.loss.steps),
    "policy_gradient": partial(policy_gradient.policy_gradient, steps=config.loss.steps),
    "entropy": partial(entropy.entropy, steps=config.loss.steps),
    "consistency": partial(
      consistency.consistency, stack=ring.stack, hidden=hidden, width=config.loss.consistency_width
    ),
    "distillation": partial(distillation.distillation, stack=ring.stack),
    "short_value": partial(
      short_value.short_value,
      hidden=hidden,
      returns=Returns(
        config.targets.n_step,
        config.loss.short_discount,
        clip_rewards=config.targets.clip_rewards,
      ),
      steps=config.loss.steps,
    ),
    "reconstruction": partial(
      reconstruction.reconstruction, stack=ring.stack, hidden=hidden, pixels=ring.pixels
    ),
    "jump": partial(jump.jump, discount=config.targets.discount),
    "second_value": partial(
      second_value.second_value,
      returns=dataclasses.replace(make_returns(config), discount=config.targets.second_discount),
      stack=ring.stack,
      steps=config.loss.steps,
    ),
    "uncertainty": partial(
      uncertainty.uncertainty if config.network.uncertainty == "head" else ensemble.ensemble,
      steps=config.loss.steps,
    ),
    "novelty": partial(novelty_losses.novelty, stack=ring.stack),
    "q": partial(q_losses.q, steps=config.loss.steps),
    "q_search": q_losses.q_search,
  }
  weights = {name: getattr(config.loss, name) for name in makers}
  own = custom.terms(config.loss.custom, model, taken=("model", *makers))
  made = {name: (weight, makers[name](model)) for name, weight in weights.items() if weight}
  if not made and not own:
    raise ConfigError(
      f"--loss.custom={config.loss.custom}: all of its weights are 0, and so are all other losses: "
      "nothing would be learned."
    )
  return scheduled(config, made | own)


# Loss terms that need no rewards and no policy: the only ones while --loss.pretrain lasts.
SELF_SUPERVISED = ("consistency", "reconstruction")


def scheduled(
  config: Config, terms: dict[str, tuple[float, Term]]
) -> dict[str, tuple[float, Term]]:
  """The same terms; those that do not count during the whole run are confined to their part."""
  begin = {name: config.loss.pretrain for name in terms if name not in SELF_SUPERVISED}
  end = {"reconstruction": config.loss.reconstruction_until}
  parts = {name: (begin.get(name, 0), end.get(name, 0)) for name in terms}
  return {
    name: (weight, schedule.during(term, *parts[name]) if any(parts[name]) else term)
    for name, (weight, term) in terms.items()
  }


def make_optimizer(config: Config, layout: Layout) -> optax.GradientTransformation:
  """Makes AdamW with clipping by global norm, and linear warm-up and decay of the learning rate.

  Parameters with a single axis (biases, scales of norms) have no weight decay.

  Args:
    config: the settings.
    layout: of the parameters in the vector that is optimized.
  """
  settings = config.optimizer
  top = settings.learning_rate
  rate = optax.linear_schedule(top / (settings.warmup + 1), top, settings.warmup)
  if settings.decay:
    rate = optax.join_schedules(
      [rate, optax.linear_schedule(top, top * settings.final, settings.decay)], [settings.warmup]
    )
  return optax.chain(
    optax.clip_by_global_norm(settings.clip) if settings.clip else optax.identity(),
    optax.adamw(
      rate,
      weight_decay=jnp.where(jnp.arange(layout.size) < layout.matrices, settings.weight_decay, 0.0),
      mask=True,  # everything: earlier checkpoints hold the state of a mask
    ),
  )
