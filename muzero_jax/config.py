"""Every setting of a run: a tree of frozen dataclasses. Flags, `--help` and `config.json` are made
from it (`flags.py`).

Steps are agent steps (of `env.frame_skip` frames each), over all environments and devices unless it
says otherwise.
"""

import dataclasses
from typing import Any

from muzero_jax import __version__


class ConfigError(ValueError):
  """A setting that cannot be; the message is one sentence that names the flag and the remedy."""


class DivergedError(RuntimeError):
  """A run whose loss is no number any more; the message is one sentence that names the remedy."""


def option(
  default: Any,
  help: str,
  *,
  choices: tuple = (),
  minimum: float | None = None,
  maximum: float | None = None,
) -> Any:
  """A field with what `--help` and the range check need."""
  return dataclasses.field(
    default=default, metadata=dict(help=help, choices=choices, minimum=minimum, maximum=maximum)
  )


@dataclasses.dataclass(frozen=True)
class Env:
  """The game."""

  kind: str = option(
    "envpool",
    "what plays the game; custom: one of your own (docs/library.md)",
    choices=("envpool", "catch", "gymnax", "custom"),
  )
  task: str = option(
    "Pong-v5",
    "the game's name in EnvPool or gymnax; custom: MODULE:FUNCTION; unused by catch",
  )
  num_envs: int = option(64, "games per device", minimum=1)
  backend: str = option(
    "auto",
    "how EnvPool is reached; auto: its custom call where it works",
    choices=("auto", "ffi", "callback"),
  )
  num_threads: int = option(0, "emulator threads per device; 0: the cores shared out", minimum=0)
  frame_size: int = option(
    84, "Atari: height and width in pixels, for example 84 or 96", minimum=16, maximum=210
  )
  color: bool = option(False, "Atari: three color channels instead of gray")
  stack: int = option(4, "frames the network sees", minimum=1, maximum=32)
  frame_skip: int = option(4, "Atari: frames per agent step", minimum=1)
  sticky: float = option(
    0.0,
    "Atari: probability that the previous action is repeated (0.25 in the Machado protocol)",
    minimum=0,
    maximum=1,
  )
  full_action_set: bool = option(False, "Atari: all 18 actions instead of those the game uses")
  noop_max: int = option(
    30, "Atari: a game starts with 1 to this many no-ops; EnvPool cannot do fewer than 1", minimum=1
  )
  fire_reset: bool = option(True, "Atari: press fire after a reset where the game needs it")
  life_loss_ends_return: bool = option(
    False, "Atari: a lost life ends the return in training (never the episode or its score)"
  )
  max_episode_steps: int = option(
    27000, "Atari: agent steps after which an episode is cut off", minimum=1
  )


@dataclasses.dataclass(frozen=True)
class Network:
  """The model."""

  kind: str = option(
    "resnet",
    "resnet, vector (cheaper): images; mlp: vectors, small boards",
    choices=("resnet", "vector", "mlp"),
  )
  size: str = option(
    "tiny",
    "grid is for 10x10 boards; vector: nano or tiny",
    choices=("grid", "nano", "tiny", "small", "efficientzero", "muzero"),
  )
  support: int = option(
    300,
    "values and rewards are distributions over -support..support in transformed space",
    minimum=1,
  )
  bins: int = option(
    0,
    "how many values these distributions are over; 0: one for every integer",
    minimum=0,
    maximum=10_001,
  )
  precision: str = option(
    "float32", "of the trunk; heads and losses are float32", choices=("float32", "bfloat16")
  )


@dataclasses.dataclass(frozen=True)
class Search:
  """Thinking before acting."""

  kind: str = option(
    "gumbel",
    "none: one step of the model for every action, no tree",
    choices=("gumbel", "puct", "none"),
  )
  num_simulations: int = option(8, "per decision", minimum=1)
  tree: str = option(
    "mctx",
    "who grows it: mctx, or batched, ours without loops that depend on data",
    choices=("mctx", "batched"),
  )
  max_depth: int = option(0, "deepest node; 0: no bound", minimum=0)
  max_considered: int = option(16, "gumbel: actions considered at the root", minimum=1)
  value_scale: float = option(0.1, "gumbel: c_scale", minimum=0)
  visit_offset: float = option(50.0, "gumbel: c_visit", minimum=0)
  epsilon: float = option(
    0.02, "differences of Q below this are not stretched to 0..1, in units of return", minimum=1e-8
  )
  prior_exponent: float = option(
    1.0, "gumbel: power of the root's prior; below 1 errors of Q stay bounded", minimum=0, maximum=1
  )
  qtransform: str = option(
    "auto",
    "how Q is scaled: by the extremes over the tree, by those of each node, or (gumbel, none) as "
    "advantages over the running standard "
    "deviation of (return - value), or over that and the search's measured skill; auto: puct tree, "
    "gumbel node, none advantage_scale",
    choices=("auto", "tree", "node", "advantage", "skill"),
  )
  acting: str = option(
    "halving",
    "gumbel, in self-play: the survivor of the halving, or a sample of the improved policy, whose "
    "probability is known exactly",
    choices=("halving", "sample"),
  )
  unvisited: str = option(
    "mean",
    "puct over the tree: the Q of unvisited children, the mean of their siblings' or zero",
    choices=("mean", "zero"),
  )
  pb_c_init: float = option(1.25, "puct: c_1", minimum=0)
  pb_c_base: float = option(19652.0, "puct: c_2", minimum=1)
  dirichlet_alpha: float = option(0.3, "puct: shape of the root's noise in self-play", minimum=1e-3)
  dirichlet_fraction: float = option(
    0.25, "puct: share of the root's noise in self-play", minimum=0, maximum=1
  )
  temperature: float = option(1.0, "puct: of the visit counts acted from in self-play", minimum=0)
  advantage_scale: float = option(
    0.1, "none: an advantage of this size multiplies an action's odds by e", minimum=1e-6
  )
  advantage_clip: float = option(3.0, "none: largest scaled advantage", minimum=0)


@dataclasses.dataclass(frozen=True)
class Replay:
  """What is remembered."""

  kind: str = option("uniform", "how examples are drawn", choices=("uniform", "prioritized"))
  capacity: int = option(100_000, "steps, all environments and devices", minimum=1)
  warmup: int = option(2_000, "steps before the first gradient step", minimum=0)
  exponent: float = option(0.6, "prioritized: alpha", minimum=0, maximum=2)
  correction: float = option(
    0.4, "prioritized: beta of the importance weights", minimum=0, maximum=1
  )


@dataclasses.dataclass(frozen=True)
class Targets:
  """What is learned towards."""

  unroll: int = option(5, "k: steps the model is unrolled", minimum=1, maximum=50)
  n_step: int = option(5, "n: steps until the bootstrap", minimum=1, maximum=500)
  discount: float = option(0.997, "gamma, per agent step", minimum=0, maximum=1)
  td_lambda: float = option(
    1.0, "lambda: 1 gives n-step returns, below 1 TD(lambda) over n steps", minimum=0, maximum=1
  )
  clip_rewards: bool = option(
    True, "learn from the signs of rewards; scores are reported unclipped"
  )
  stale_after: int = option(
    0,
    "gradient steps of age that make an example's returns one step shorter (at least 1); 0: none",
    minimum=0,
  )
  bootstrap: str = option(
    "recorded",
    "values from when the step was played, or of the target network now",
    choices=("recorded", "target"),
  )
  reanalyse: float = option(
    0.0, "fraction of each batch whose policy targets are searched again", minimum=0, maximum=1
  )


@dataclasses.dataclass(frozen=True)
class Loss:
  """Weights of the loss terms; a term of weight 0 is not built."""

  reward: float = option(1.0, "weight", minimum=0)
  value: float = option(0.25, "weight", minimum=0)
  policy: float = option(1.0, "weight", minimum=0)
  policy_gradient: float = option(
    0.0,
    "weight: of the returns that followed what was played; gumbel needs --search.acting=sample",
    minimum=0,
  )
  consistency: float = option(
    0.0, "weight of the mean over steps; EfficientZero has 2, with --loss.steps=equal", minimum=0
  )
  custom: str = option(
    "",
    "terms of your own (docs/library.md): MODULE:FUNCTION=WEIGHT, with commas between",
  )
  consistency_width: int = option(
    1024, "of the projections; the predictor has half of it", minimum=2
  )
  steps: str = option(
    "root",
    "of the unroll: the root counts 1 and later steps 1/k each (MuZero), or all alike "
    "(EfficientZero)",
    choices=("root", "equal"),
  )


@dataclasses.dataclass(frozen=True)
class Learner:
  """Gradient steps."""

  batch_size: int = option(64, "examples per device and gradient step", minimum=1)
  updates_per_step: float = option(0.015625, "gradient steps per agent step", minimum=0, maximum=64)
  target_period: int = option(200, "gradient steps between copies to the target network", minimum=1)
  shift: int = option(
    0, "augmentation: pixels by which training frames are shifted at most", minimum=0, maximum=16
  )


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """AdamW."""

  learning_rate: float = option(1e-3, "after the warm-up", minimum=0)
  warmup: int = option(100, "gradient steps of linear warm-up", minimum=0)
  decay: int = option(
    0,
    "gradient steps after the warm-up in which the rate falls linearly to `final` of itself; 0: it "
    "does not",
    minimum=0,
  )
  final: float = option(
    0.1, "share of the learning rate that is left after the decay", minimum=0, maximum=1
  )
  weight_decay: float = option(1e-4, "decoupled", minimum=0)
  clip: float = option(5.0, "largest norm of the gradient", minimum=0)


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Games played to see how good the agent is, without exploration."""

  episodes: int = option(8, "at every evaluation and at the end; 0: none", minimum=0)
  num_envs: int = option(8, "games at a time", minimum=1)
  protocol: str = option(
    "auto",
    "Atari: 100k (no sticky actions, up to 30 no-ops) or machado (sticky 0.25, full action set); "
    "auto: the one of the action set",
    choices=("auto", "100k", "machado"),
  )
  random_episodes: int = option(
    8, "games of a random player to compare with, at the end; 0: none", minimum=0
  )


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """What a stopped run goes on from."""

  replay: bool = option(False, "save the replay, too (as large as it is)")
  keep: int = option(2, "newest checkpoints that are kept", minimum=1)


@dataclasses.dataclass(frozen=True)
class Config:
  """A run."""

  workdir: str = option("", "folder of the run; starting again with the same one resumes")
  seed: int = option(0, "of everything", minimum=0, maximum=2**31 - 1)
  env_steps: int = option(
    1_000_000, "total, rounded up to whole ticks (one step in every environment)", minimum=1
  )
  log_every: int = option(10_000, "steps between log lines", minimum=1)
  evaluate_every: int = option(0, "steps between evaluations; 0: at the end only", minimum=0)
  save_every: int = option(100_000, "steps between checkpoints; 0: at the end only", minimum=0)
  cpu_devices: int = option(
    2,
    "virtual devices when running on the CPU, where a convolution uses one core",
    minimum=1,
    maximum=64,
  )
  video: bool = option(False, "record a game at the end")
  override_config: bool = option(
    False, "resume although settings differ from those the run was started with"
  )
  env: Env = Env()
  network: Network = Network()
  search: Search = Search()
  replay: Replay = Replay()
  targets: Targets = Targets()
  loss: Loss = Loss()
  learner: Learner = Learner()
  optimizer: Optimizer = Optimizer()
  evaluation: Evaluation = Evaluation()
  checkpoint: Checkpoint = Checkpoint()


# What may differ when a run goes on: how long, and how often it is looked at.
FREE = (
  "workdir",
  "env_steps",
  "log_every",
  "evaluate_every",
  "save_every",
  "video",
  "override_config",
  "evaluation.",
  "checkpoint.",
)


def flatten(config: Any, prefix: str = "") -> dict[str, tuple[Any, dataclasses.Field]]:
  """Dotted name -> (value, field) of every setting."""
  flat = {}
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if dataclasses.is_dataclass(value):
      flat |= flatten(value, f"{prefix}{field.name}.")
    else:
      flat[prefix + field.name] = (value, field)
  return flat


def values(config: Config) -> dict[str, Any]:
  """Dotted name -> value."""
  return {name: value for name, (value, _) in flatten(config).items()}


def replace(config: Any, settings: dict[str, Any]) -> Any:
  """The configuration with some settings, by dotted name, changed.

  Raises:
    ConfigError: a name is unknown.
  """
  known = flatten(config)
  for name in settings:
    if name not in known:
      raise ConfigError(f"There is no setting --{name} in version {__version__}.")
  return _replace(config, settings)


def _replace(config: Any, settings: dict[str, Any]) -> Any:
  changes: dict[str, Any] = {name: value for name, value in settings.items() if "." not in name}
  for group in {name.partition(".")[0] for name in settings if "." in name}:
    inner = {
      name.partition(".")[2]: value
      for name, value in settings.items()
      if name.startswith(f"{group}.")
    }
    changes[group] = _replace(getattr(config, group), inner)
  return dataclasses.replace(config, **changes)


# Names that settings had once -> today's.
RENAMED = {"env.colour": "env.color", "targets.trace": "targets.td_lambda"}


def upgraded(settings: dict[str, Any]) -> dict[str, Any]:
  """Settings of a run of an earlier version, by dotted name, under today's names and with what
  their values mean now.
  """
  settings = {RENAMED.get(name, name): value for name, value in settings.items()}
  if "search.acting" not in settings and settings.get("search.qtransform") == "tree":
    return settings | {
      "search.qtransform": "auto"
    }  # the default then, and of no meaning but for puct
  return settings


def differences(old: Config, new: Config) -> list[str]:
  """What differs, but for what may, one line a setting."""
  before, after = values(old), values(new)
  return [
    f"--{name}: was {before[name]}, now {after[name]}"
    for name in after
    if before[name] != after[name] and not name.startswith(FREE)
  ]


def check_ranges(config: Any) -> None:
  """Raises ConfigError on the first setting that is out of its range."""
  for name, (value, field) in flatten(config).items():
    _check_one(name, value, field)


def check(config: Config) -> None:
  """Raises ConfigError on the first settings that do not go together."""
  terms = ("reward", "value", "policy", "policy_gradient", "custom")
  rules = [
    (
      config.env.kind == "catch"
      and config.network.kind == "resnet"
      and config.network.size != "grid",
      "--env.kind=catch has frames of 10x5: use --network.kind=mlp or --network.size=grid.",
    ),
    (
      not any(values(config)[f"loss.{name}"] for name in terms),
      "--loss.reward, --loss.value, --loss.policy and --loss.policy_gradient are all 0: nothing "
      "would be learned.",
    ),
    (
      config.loss.policy_gradient > 0
      and config.search.kind == "gumbel"
      and config.search.acting == "halving",
      "--loss.policy_gradient needs every action's probability, which sequential halving does not "
      "know: use --search.acting=sample, or "
      "--search.kind=none or puct.",
    ),
    (
      config.search.kind == "puct" and config.search.qtransform in ("advantage", "skill"),
      f"--search.qtransform={config.search.qtransform} is not for --search.kind=puct, whose Q lies "
      "in 0..1: use tree or node.",
    ),
    (
      config.search.kind == "none" and config.search.qtransform in ("tree", "node"),
      f"--search.qtransform={config.search.qtransform} needs a tree, and --search.kind=none has "
      "none: use advantage, skill or auto.",
    ),
    (
      config.network.bins % 2 == 0 and config.network.bins > 0,
      f"--network.bins={config.network.bins}: must be odd, so that 0 is one of the values.",
    ),
    (
      config.learner.shift > 0 and config.env.kind == "catch",
      "--learner.shift moves frames, and catch's board has no margin: use --learner.shift=0.",
    ),
    (
      config.evaluation.protocol == "machado" and not config.env.full_action_set,
      "--evaluation.protocol=machado needs a run with --env.full_action_set.",
    ),
    (
      config.evaluation.protocol == "100k" and config.env.full_action_set,
      "--evaluation.protocol=100k needs a run without --env.full_action_set.",
    ),
  ]
  for broken, sentence in rules:
    if broken:
      raise ConfigError(sentence)


def _check_one(name: str, value: Any, field: dataclasses.Field) -> None:
  choices, low, high = (field.metadata[key] for key in ("choices", "minimum", "maximum"))
  if choices and value not in choices:
    raise ConfigError(f"--{name}={value}: must be one of {', '.join(choices)}.")
  if isinstance(value, float) and value != value:
    raise ConfigError(f"--{name}={value}: must be a number.")
  if low is not None and value < low:
    raise ConfigError(f"--{name}={value}: must be at least {low}.")
  if high is not None and value > high:
    raise ConfigError(f"--{name}={value}: must be at most {high}.")
