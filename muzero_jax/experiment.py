"""From a configuration to a run, and to games that score it."""

import dataclasses
from fractions import Fraction

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from muzero_jax import actor, components
from muzero_jax.config import Config, ConfigError
from muzero_jax.device import parallel
from muzero_jax.diagnostics import Calibration
from muzero_jax.envs import envpool
from muzero_jax.evaluation.evaluator import Evaluator
from muzero_jax.loop import Local, Loop, Shared
from muzero_jax.types import Model, SearchFn


@dataclasses.dataclass(frozen=True)
class Experiment:
  """A run's components."""

  config: Config
  devices: Mesh
  loop: Loop
  begun: int = 0  # agent steps done when this process began: a run that goes on draws other random numbers

  @property
  def width(self) -> int:
    """Agent steps per tick, all devices."""
    return self.devices.size * self.loop.environment.spec.num_envs

  def shared(self) -> Shared:
    """The learner at the start."""
    learner = jax.jit(self.loop.learner.init)(jax.random.key(self.config.seed))
    return parallel.replicate(Shared(learner, jnp.zeros((), jnp.int32)), self.devices)

  def local(self) -> Local:
    """Games newly started and an empty replay on every device."""
    key = jax.random.fold_in(jax.random.key(self.config.seed), 1 + self.begun)
    keys = jax.random.split(key, 2 * self.devices.size)
    states = []
    for device in range(self.devices.size):
      env_key, key = keys[2 * device : 2 * device + 2]
      spec = self.loop.environment.spec
      player = actor.new_actor(self.loop.environment.reset(env_key, device), spec.num_envs, spec.num_actions)
      states.append((player, key))
    players, keys = parallel.stack(states, self.devices)
    replays = jax.jit(jax.vmap(lambda _: self.loop.ring.init()), out_shardings=jax.tree.leaves(keys.sharding)[0])(
      jnp.arange(self.devices.size)
    )
    return Local(players, replays, keys, parallel.split(jnp.zeros(self.devices.size), self.devices))


def build(config: Config, begun: int = 0) -> Experiment:
  """All components of a run, `begun` agent steps after its start.

  Raises:
    ConfigError: what was asked for cannot be made.
  """
  devices = parallel.mesh()
  environment = components.make_environment(config, num_pools=devices.size, seed=components.env_seed(config.seed, begun))
  spec = environment.spec
  components.check_frames(config, spec)
  model = components.make_model(config, spec)
  search = components.make_search(config, model)
  ring = components.make_ring(config, spec, devices.size)
  learner = components.make_learner(config, model, search, ring)
  updates = Fraction(config.learner.updates_per_step * spec.num_envs * devices.size).limit_denominator(1000)
  if config.learner.updates_per_step and not updates:
    raise ConfigError(
      f"--learner.updates_per_step={config.learner.updates_per_step}: that is less than one gradient step in 1000 ticks of "
      f"{spec.num_envs * devices.size} games; use 0 for none."
    )
  return Experiment(
    config,
    devices,
    Loop(
      environment,
      model,
      search,
      ring,
      learner,
      Calibration(config.targets.discount, config.targets.clip_rewards),
      updates=updates.numerator,
      every=updates.denominator,
      warmup=max(-(-config.replay.warmup // (spec.num_envs * devices.size)), ring.smallest(ring.stack, ring.window) + 1),
      monitors=components.make_monitors(config, model, ring),
    ),
    begun,
  )


def for_protocol(config: Config, protocol: str) -> tuple[str, Config]:
  """How games are played to be scored: the protocol's name, and the configuration with its rules.

  Args:
    config: of the run.
    protocol: "100k", "machado", or "auto" for the one that has the run's action set; games other than Atari have one, "own".

  Raises:
    ConfigError: the run was trained on another action set than the protocol's.
  """
  if config.env.kind != "envpool" or not envpool.is_atari(config.env.task):
    return "own", config
  full = config.env.full_action_set
  name = protocol if protocol != "auto" else ("machado" if full else "100k")
  if full != (name == "machado"):
    raise ConfigError(
      f"--protocol={name} is played with {'all 18' if name == 'machado' else 'the minimal set of'} actions, and this run was "
      f"trained with{'' if full else 'out'} --env.full_action_set: use --protocol={'machado' if full else '100k'}."
    )
  rules = {"100k": dict(sticky=0.0, noop_max=30), "machado": dict(sticky=0.25, noop_max=1)}[name]
  env = dataclasses.replace(config.env, **rules, max_episode_steps=27000, life_loss_ends_return=False)
  return name, dataclasses.replace(config, env=env)


def make_evaluator(config: Config, search: SearchFn, model: Model, num_envs: int, offset: int = -1) -> Evaluator:
  """An evaluator with games of its own; `offset` gives other games for the same seed."""
  environment = components.make_environment(config, num_pools=1, seed=components.env_seed(config.seed, offset), num_envs=num_envs)
  return Evaluator(environment, model, search, config.env.stack)
