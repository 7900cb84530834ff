"""All settings of a run, as a tree of frozen dataclasses; add a setting here.

Command-line flags, `--help` and docs/settings.md (`flags.py`) and `config.json` are generated from
it. "Steps" in a help text are agent steps (of `env.frame_skip` frames each), summed over all
environments and devices, unless it says otherwise.
"""

import dataclasses
import math
from typing import Any

from muzero_jax import __version__

INT32_MAX = 2**31 - 1  # the maximum of integer settings that name none: arrays of them are int32


class ConfigError(ValueError):
  """An invalid setting. The message is one sentence that names the flag and how to fix it."""


class StorageError(RuntimeError):
  """A file of a run cannot be written. The message is one sentence that says what is lost."""


class DivergedError(RuntimeError):
  """The run diverged: a loss or gradient became infinite or NaN, or a parameter too large.

  The message says which, and how to go on.
  """


class FailedError(RuntimeError):
  """Some of many runs failed. The message names them, and says how to go on."""


def option(
  default: Any,
  help: str,
  *,
  choices: tuple = (),
  minimum: float | None = None,
  maximum: float | None = None,
) -> Any:
  """A dataclass field for a setting, with its help text and the allowed choices or range."""
  return dataclasses.field(
    default=default, metadata=dict(help=help, choices=choices, minimum=minimum, maximum=maximum)
  )


@dataclasses.dataclass(frozen=True)
class Env:
  """The environments to train on."""

  kind: str = option(
    "envpool",
    "library that implements the environment; custom: your own (docs/library.md)",
    choices=("envpool", "catch", "gymnax", "jaxtari", "gymnasium", "custom"),
  )
  task: str = option(
    "Pong-v5",
    "name of the environment in EnvPool, gymnax, JAXtari or gymnasium; custom: MODULE:FUNCTION; "
    "catch: unused",
  )
  num_envs: int = option(64, "environments per device", minimum=1)
  total_envs: int = option(
    0, "environments on all devices together, in place of --env.num_envs; 0: not used", minimum=0
  )
  backend: str = option(
    "auto",
    "how the program calls EnvPool; ffi: XLA custom calls; callback: io_callback, slower; auto: "
    "ffi where it works",
    choices=("auto", "ffi", "callback"),
  )
  num_threads: int = option(0, "EnvPool threads per device; 0: CPU cores / devices", minimum=0)
  frame_size: int = option(
    84,
    "Atari: height and width of a frame in pixels, for example 84 or 96",
    minimum=16,
    maximum=210,
  )
  color: bool = option(False, "Atari: RGB frames instead of grayscale")
  stack: int = option(4, "consecutive frames that the network sees", minimum=1, maximum=32)
  frame_skip: int = option(4, "Atari: emulator frames per agent step", minimum=1)
  sticky: float = option(
    0.0,
    "Atari: probability of repeating the previous action (0.25 in the Machado protocol)",
    minimum=0,
    maximum=1,
  )
  full_action_set: bool = option(
    False, "Atari: all 18 actions, MinAtar: all six, instead of those the game uses"
  )
  noop_max: int = option(
    30,
    "Atari: an episode starts with 1 to this many random no-ops (EnvPool needs at least 1)",
    minimum=1,
  )
  fire_reset: bool = option(True, "Atari: press FIRE after a reset in games that need it to start")
  life_loss_ends_return: bool = option(
    False, "Atari: in training, discount 0 at a lost life; episodes and scores are unaffected"
  )
  max_episode_steps: int = option(
    27000, "Atari: agent steps after which an episode is truncated", minimum=1
  )


@dataclasses.dataclass(frozen=True)
class Network:
  """The network."""

  kind: str = option(
    "resnet",
    "resnet: images; vector: images, cheaper, for CPUs; hadamax: images, products of layers and "
    "max-pooling; mlp: vectors and small boards",
    choices=("resnet", "vector", "hadamax", "mlp"),
  )
  size: str = option(
    "tiny",
    "size of the network; grid: for 10x10 boards; vector comes in nano and tiny only, hadamax in "
    "grid, nano, tiny and small",
    choices=("grid", "nano", "tiny", "small", "efficientzero", "muzero"),
  )
  support: int = option(
    300,
    "values and rewards are categorical over -support..support, after MuZero's scaling h(x)",
    minimum=1,
    maximum=100_000,
  )
  bins: int = option(
    0,
    "number of bins of these distributions, an odd number; 0: one per integer",
    minimum=0,
    maximum=10_001,
  )
  scalars: str = option(
    "two-hot",
    "targets of these distributions: the two nearest bins, or a histogram of a Gaussian (HL-Gauss)",
    choices=("two-hot", "gaussian"),
  )
  sigma: float = option(0.75, "gaussian: standard deviation, in bins", minimum=0.1, maximum=100)
  q: str = option(
    "categorical",
    "the Q head, with --loss.q or --loss.q_search; categorical: a distribution for each action; "
    "scalar: a number for each action, with Huber's loss (DQN)",
    choices=("categorical", "scalar"),
  )
  macros: int = option(
    8, "number of macro actions of the model that jumps (--loss.jump)", minimum=2, maximum=256
  )
  uncertainty: str = option(
    "head",
    "what predicts the value's uncertainty, with --loss.uncertainty; head: a head that learns its "
    "squared error; ensemble: the variance of five value heads with random priors",
    choices=("head", "ensemble"),
  )
  precision: str = option(
    "float32",
    "dtype of the network's trunk; heads and losses are always float32",
    choices=("float32", "bfloat16"),
  )


@dataclasses.dataclass(frozen=True)
class Search:
  """The search that chooses actions and improves the policy."""

  kind: str = option(
    "gumbel",
    "gumbel: Gumbel MuZero; puct: MuZero; none: no tree, one model step for every action; q: no "
    "tree and no model, acts from the Q head (DQN)",
    choices=("gumbel", "puct", "none", "q"),
  )
  num_simulations: int = option(8, "gumbel, puct: simulations per decision", minimum=1)
  tree: str = option(
    "auto",
    "implementation of the tree search. mctx, batched: the same trees; batched has no "
    "data-dependent loops, which are slow on accelerators. rounds (gumbel): like batched, with one "
    "call of the model for each round of sequential halving: 2 calls for 8 simulations over 6 "
    "actions. auto: mctx on CPUs, rounds on GPUs (puct: batched), batched on TPUs. gumbel: if "
    "simulations do not exceed the considered actions, the search looks one step ahead",
    choices=("auto", "mctx", "batched", "rounds"),
  )
  max_depth: int = option(0, "largest depth of the tree, in steps; 0: unlimited", minimum=0)
  max_considered: int = option(16, "gumbel: number of actions considered at the root", minimum=1)
  value_scale: float = option(0.1, "gumbel: c_scale, the weight of Q against the prior", minimum=0)
  visit_offset: float = option(50.0, "gumbel: c_visit, visits added to the weight of Q", minimum=0)
  epsilon: float = option(
    0.02,
    "smallest range of Q, in units of return, that is rescaled to 0..1; raise it if Q is noisy",
    minimum=1e-8,
  )
  prior_exponent: float = option(
    1.0,
    "gumbel: exponent of the root's prior; below 1, errors of Q cannot add up without bound",
    minimum=0,
    maximum=1,
  )
  qtransform: str = option(
    "auto",
    "how Q is scaled. tree, node: by the extremes over the tree or at each node. advantage "
    "(gumbel, none): advantages over the running standard deviation of (return - value); skill: "
    "also times the measured skill of the search. auto: tree (puct), node (gumbel), "
    "--search.advantage_scale (none)",
    choices=("auto", "tree", "node", "advantage", "skill"),
  )
  acting: str = option(
    "halving",
    "gumbel, self-play: the winner of sequential halving, or a sample from the improved policy, "
    "whose probability is known exactly",
    choices=("halving", "sample"),
  )
  unvisited: str = option(
    "mean",
    "puct with qtransform=tree: score of unvisited children; mean: that of their siblings",
    choices=("mean", "zero"),
  )
  pb_c_init: float = option(1.25, "puct: c_1, the weight of exploration", minimum=0)
  pb_c_base: float = option(
    19652.0, "puct: c_2, number of visits at which that weight begins to grow", minimum=1
  )
  dirichlet_alpha: float = option(
    0.3, "puct: alpha of the Dirichlet noise at the root in self-play", minimum=1e-3
  )
  dirichlet_fraction: float = option(
    0.25, "puct: share of that noise in the root's prior", minimum=0, maximum=1
  )
  temperature: float = option(
    1.0, "puct: temperature of the visit counts that self-play samples from", minimum=0
  )
  improvement: str = option(
    "visits",
    "puct: the improved policy. visits: their distribution. Otherwise the regularized policy that "
    "visits approach, computed exactly: learn: as policy target; act: to act with; both; all: and "
    "to choose actions in the tree",
    choices=("visits", "learn", "act", "both", "all"),
  )
  equivalence: float = option(
    0.0,
    "gumbel, puct: actions at the root whose one-step predictions (reward, discounted value, "
    "policy, hidden state) differ by at most this are searched as one; 0: never",
    minimum=0,
  )
  second_share: float = option(
    0.0,
    "share of the second value (--loss.second_value) in the values of the search",
    minimum=0,
    maximum=1,
  )
  goal_share: float = option(
    0.0,
    "gumbel, puct, none: share of the policy that pursues a goal (--loss.jump) in the prior of the "
    "root; the goal is found by a search over jumps",
    minimum=0,
    maximum=1,
  )
  jump_simulations: int = option(8, "goal_share: simulations of the search over jumps", minimum=1)
  optimism: float = option(
    0.0,
    "self-play: predicted uncertainties (--loss.uncertainty) that are added to the values of the "
    "search, as a bonus for exploration",
    minimum=0,
  )
  focus: bool = option(
    False,
    "gumbel, puct, self-play: the half of the environments whose values are least certain is "
    "searched with twice the simulations, the others act by the policy",
  )
  advantage_scale: float = option(
    0.1,
    "none: an advantage of this size, in units of return, multiplies an action's odds by e",
    minimum=1e-6,
  )
  advantage_clip: float = option(
    3.0, "none: scaled advantages are clipped to plus or minus this", minimum=0
  )
  q_acting: str = option(
    "epsilon",
    "q, self-play: epsilon-greedy, softmax(Q / temperature), or mellowmax's policy of maximum "
    "entropy",
    choices=("epsilon", "boltzmann", "mellowmax"),
  )
  q_epsilon: float = option(
    0.1, "q with q_acting=epsilon: share of random actions", minimum=0, maximum=1
  )
  q_prior: float = option(
    0.0,
    "gumbel, puct, none: the prior is softmax(Q / this) of the Q head (--loss.q; units of return), "
    "in place of the policy network's; 0: never",
    minimum=0,
  )
  q_temperature: float = option(
    0.1,
    "boltzmann: temperature, in units of return; mellowmax, when acting and as bootstrap: 1 / "
    "omega",
    minimum=1e-4,
  )


@dataclasses.dataclass(frozen=True)
class Replay:
  """The replay buffer."""

  kind: str = option("uniform", "how examples are sampled", choices=("uniform", "prioritized"))
  capacity: int = option(100_000, "steps that the buffer holds, over all devices", minimum=1)
  warmup: int = option(2_000, "steps before the first gradient step", minimum=0)
  exponent: float = option(
    0.6, "prioritized: alpha, the exponent of priorities", minimum=0, maximum=2
  )
  correction: float = option(
    0.4, "prioritized: beta, the exponent of importance weights", minimum=0, maximum=1
  )
  anneal: bool = option(
    False,
    "prioritized: beta rises from --replay.correction linearly to 1 at the end of the run "
    "(--env_steps)",
  )


@dataclasses.dataclass(frozen=True)
class Targets:
  """The training targets."""

  unroll: int = option(
    5,
    "k: steps that the model is unrolled in training; 0, with --search.kind=q: none",
    minimum=0,
    maximum=50,
  )
  n_step: int = option(5, "n: steps until a return bootstraps", minimum=1, maximum=500)
  discount: float = option(0.997, "gamma: discount per agent step", minimum=0, maximum=1)
  second_discount: float = option(
    0.9, "discount of the second value, per agent step", minimum=0, maximum=1
  )
  novelty: float = option(
    0.0,
    "weight of intrinsic rewards for novel frames (random network distillation), which are added "
    "to those of the environment; with --loss.novelty",
    minimum=0,
  )
  anneal: int = option(
    0,
    "gradient steps, at first and after each reset (--learner.reset_every), in which n and "
    "discount go from --targets.first_n_step and --targets.first_discount to their values; 0: none",
    minimum=0,
  )
  first_n_step: int = option(10, "anneal: n at the beginning", minimum=1, maximum=500)
  first_discount: float = option(
    0.97, "anneal: discount per agent step at the beginning", minimum=0, maximum=1
  )
  td_lambda: float = option(
    1.0, "lambda: 1: n-step returns; below 1: lambda returns over n steps", minimum=0, maximum=1
  )
  clip_rewards: bool = option(True, "train on the signs of rewards; reported scores are unclipped")
  stale_after: int = option(
    0,
    "shorten n by 1 (at least to 1) per this many gradient steps of an example's age; 0: never",
    minimum=0,
  )
  bootstrap: str = option(
    "recorded",
    "bootstrap values: recorded by the search when acting; target: the target network's; search: "
    "of a new search with the target network; q_max: "
    "the largest Q of the target network's Q head; q_double: its Q of the action that is best by "
    "the online network's Q (double Q-learning); q_mellowmax: mellowmax of its Q",
    choices=("recorded", "target", "search", "q_max", "q_double", "q_mellowmax"),
  )
  correction: str = option(
    "none",
    "off-policy correction of returns by the probabilities of the recorded actions; vtrace: of all "
    "actions; retrace: of all but the first",
    choices=("none", "retrace", "vtrace"),
  )
  reanalyse: float = option(
    0.0,
    "fraction of each batch whose policy targets come from a new search (MuZero Reanalyze)",
    minimum=0,
    maximum=1,
  )


@dataclasses.dataclass(frozen=True)
class Loss:
  """Weights of the loss terms; a term of weight 0 is not built."""

  reward: float = option(1.0, "weight of the reward loss", minimum=0)
  value: float = option(0.25, "weight of the value loss", minimum=0)
  policy: float = option(1.0, "weight of the policy loss", minimum=0)
  policy_gradient: float = option(
    0.0,
    "weight of the policy gradient on the actions taken; gumbel needs --search.acting=sample",
    minimum=0,
  )
  entropy: float = option(
    0.0,
    "weight of the entropy bonus that keeps the policy from becoming certain; PPO: 0.01 beside a "
    "policy gradient of weight 1",
    minimum=0,
  )
  value_prefix: float = option(
    0.0,
    "weight of the loss of value prefixes (EfficientZero), from which rewards are then computed; "
    "with --loss.reward=0",
    minimum=0,
  )
  prefix_horizon: int = option(
    5, "value_prefix: steps after which the sum of rewards begins anew", minimum=1
  )
  consistency: float = option(
    0.0,
    "weight of EfficientZero's consistency loss; the paper: 2, with --loss.steps=equal",
    minimum=0,
  )
  distillation: float = option(
    0.0,
    "weight of the loss that makes the unroll's policies and values agree with those that the "
    "network predicts from the frames really reached",
    minimum=0,
  )
  short_value: float = option(
    0.0, "weight of a second value with a shorter horizon, an auxiliary task", minimum=0
  )
  short_discount: float = option(
    0.7, "short_value: its discount per agent step", minimum=0, maximum=1
  )
  jump: float = option(
    0.0,
    "weight of the loss of a second dynamics model, which jumps several steps by macro actions "
    "that are learned",
    minimum=0,
  )
  jump_steps: int = option(
    5, "jump: agent steps of a jump, at most --targets.unroll", minimum=1, maximum=50
  )
  reconstruction: float = option(
    0.0,
    "weight of the loss that reconstructs the frames from the hidden states of the unroll",
    minimum=0,
  )
  reconstruction_until: int = option(
    0, "gradient steps after which the reconstruction no longer counts; 0: never", minimum=0
  )
  pretrain: int = option(
    0,
    "gradient steps at the beginning in which only consistency and reconstruction count, on random "
    "play",
    minimum=0,
  )
  second_value: float = option(
    0.0,
    "weight of the loss of a second value head, whose returns have --targets.second_discount",
    minimum=0,
  )
  uncertainty: float = option(
    0.0,
    "weight of the loss of what predicts the value's uncertainty (--network.uncertainty); it moves "
    "no other part",
    minimum=0,
  )
  novelty: float = option(
    0.0,
    "weight of the loss of the predictor that finds out which frames are novel, for "
    "--targets.novelty",
    minimum=0,
  )
  q: float = option(
    0.0, "weight of the loss of the Q head on the returns of the actions taken", minimum=0
  )
  q_search: float = option(
    0.0, "weight of the loss of the Q head on the search's Q of the actions taken", minimum=0
  )
  custom: str = option(
    "",
    "your own loss terms (docs/library.md): MODULE:FUNCTION=WEIGHT, separated by commas",
  )
  consistency_width: int = option(
    1024,
    "consistency: width of the projector; the predictor's hidden layer has half of it",
    minimum=2,
  )
  steps: str = option(
    "root",
    "weights of the unroll's steps; root: 1 for the root, 1/k for each later step (MuZero); equal: "
    "1/k for all (EfficientZero)",
    choices=("root", "equal"),
  )


@dataclasses.dataclass(frozen=True)
class Learner:
  """Batch size, update rate, target network, resets, augmentation."""

  batch_size: int = option(64, "examples per device and gradient step", minimum=1)
  total_batch_size: int = option(
    0, "examples of all devices together, in place of --learner.batch_size; 0: not used", minimum=0
  )
  updates_per_step: float = option(0.015625, "gradient steps per agent step", minimum=0, maximum=64)
  target_period: int = option(
    200, "gradient steps between updates of the target network", minimum=1
  )
  reset_every: int = option(
    0,
    "gradient steps between resets of the heads and, in part, of encoder and dynamics (BBF); none "
    "in the last so many gradient steps of a run; 0: never",
    minimum=0,
  )
  shift: int = option(
    0,
    "augmentation: largest random shift of training frames, in pixels; 0: none",
    minimum=0,
    maximum=16,
  )


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """The optimizer, AdamW."""

  learning_rate: float = option(1e-3, "learning rate after the warm-up", minimum=0)
  warmup: int = option(100, "gradient steps of linear warm-up of the learning rate", minimum=0)
  decay: int = option(
    0,
    "gradient steps, after the warm-up, of linear decay of the learning rate; 0: no decay",
    minimum=0,
  )
  final: float = option(
    0.1, "fraction of the learning rate that remains after the decay", minimum=0, maximum=1
  )
  weight_decay: float = option(1e-4, "decoupled weight decay", minimum=0)
  clip: float = option(5.0, "largest global norm of the gradient; 0: no clipping", minimum=0)
  limit: float = option(
    1e4,
    "a run whose parameters would exceed this absolute value has diverged and stops; 0: no limit",
    minimum=0,
  )


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """Evaluation: episodes played to score the agent."""

  episodes: int = option(8, "episodes per evaluation and at the end; 0: none", minimum=0)
  num_envs: int = option(8, "environments that are evaluated in parallel", minimum=1)
  protocol: str = option(
    "auto",
    "Atari: 100k (no sticky actions, up to 30 no-ops) or machado (sticky 0.25, full action set; "
    "without --env.full_action_set it is called machado-minimal); auto: the one that fits "
    "--env.full_action_set",
    choices=("auto", "100k", "machado"),
  )
  acting: str = option(
    "greedy",
    "greedy: without exploration; sampled: as in training, where actions are drawn at random. The "
    "protocol's name then ends in -sampled",
    choices=("greedy", "sampled"),
  )
  random_episodes: int = option(
    8, "episodes of a random agent, at the end, for comparison; 0: none", minimum=0
  )


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """Checkpoints."""

  replay: bool = option(False, "save the replay buffer, too, so that a resumed run keeps it; large")
  keep: int = option(2, "number of checkpoints kept, the newest ones", minimum=1)


@dataclasses.dataclass(frozen=True)
class Config:
  """All settings of a run."""

  workdir: str = option("", "folder of the run; if it holds a run, that run is resumed")
  seed: int = option(0, "seed of all random numbers", minimum=0, maximum=INT32_MAX)
  env_steps: int = option(
    1_000_000,
    "length of the run in steps, rounded up to a whole step in every environment",
    minimum=1,
    maximum=math.inf,
  )
  log_every: int = option(10_000, "steps between log lines", minimum=1, maximum=math.inf)
  log_drift: bool = option(
    False,
    "log how far the unroll's hidden states are from those of the frames reached; takes time",
  )
  evaluate_every: int = option(
    0, "steps between evaluations; 0: at the end only", minimum=0, maximum=math.inf
  )
  save_every: int = option(
    100_000,
    "steps between checkpoints; 0: only at the end or on a signal",
    minimum=0,
    maximum=math.inf,
  )
  cpu_devices: int = option(
    2,
    "CPU only: virtual devices, of all processes; a convolution uses one core per device",
    minimum=1,
    maximum=64,
  )
  video: bool = option(
    False, "record a video of an episode at the end, with what the agent sees and thinks"
  )
  tracker: str = option(
    "none",
    "where results go beside the run's folder, which has TensorBoard's files; wandb: Weights & "
    "Biases",
    choices=("none", "wandb"),
  )
  override_config: bool = option(
    False, "resume even if settings differ from those of the run in --workdir"
  )
  resume: str = option(
    "episodes",
    "how a run resumes whose environments are not written in JAX; episodes: with new episodes; "
    "exact: where it was, by playing all actions again, which are saved (docs/resuming.md)",
    choices=("episodes", "exact"),
  )
  skip_nonfinite: int = option(
    0,
    "gradient steps with an infinite or NaN loss or gradient, or beyond --optimizer.limit, that a "
    "run may skip before it stops",
    minimum=0,
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


# Settings (or groups, with a dot) that may change when a run is resumed.
FREE = (
  "workdir",
  "env_steps",
  "log_every",
  "log_drift",
  "evaluate_every",
  "save_every",
  "video",
  "tracker",
  "override_config",
  "resume",
  "skip_nonfinite",
  "optimizer.limit",
  "evaluation.",
  "checkpoint.",
  "search.tree",  # the trees are the same, or nearly (rounds)
  "env.num_threads",
)


def flatten(config: Any, prefix: str = "") -> dict[str, tuple[Any, dataclasses.Field]]:
  """All settings: dotted name -> (value, dataclass field)."""
  flat = {}
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if dataclasses.is_dataclass(value):
      flat |= flatten(value, f"{prefix}{field.name}.")
    else:
      flat[prefix + field.name] = (value, field)
  return flat


def of_run(options: Config) -> Config:
  """The settings of a run, of a command whose options are these and more."""
  return Config(**fields(options))


def fields(config: Config) -> dict[str, Any]:
  """The settings and groups of settings of a run, by name."""
  return {field.name: getattr(config, field.name) for field in dataclasses.fields(Config)}


def values(config: Config) -> dict[str, Any]:
  """All settings: dotted name -> value."""
  return {name: value for name, (value, _) in flatten(config).items()}


def replace(config: Any, settings: dict[str, Any]) -> Any:
  """Returns the configuration with the given settings changed, by dotted name.

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


# Names of settings in earlier versions -> their current names.
RENAMED = {"env.colour": "env.color", "targets.trace": "targets.td_lambda"}


def upgraded(settings: dict[str, Any]) -> dict[str, Any]:
  """Converts settings from an earlier version, by dotted name, to current names and values."""
  settings = {RENAMED.get(name, name): value for name, value in settings.items()}
  if "search.acting" not in settings and settings.get("search.qtransform") == "tree":
    # At that time "tree" was the default, and only puct used it.
    return settings | {"search.qtransform": "auto"}
  return settings


def check_types(settings: dict[str, Any]) -> None:
  """Raises ConfigError for the first value that no flag could have: of another type or infinite.

  Args:
    settings: values by dotted name, for example read from a file. Unknown names are not checked.
  """
  for name, (default, _) in flatten(Config()).items():
    value, kind = settings.get(name, default), type(default)
    # An integer is a number, but true and false are no integers.
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits or (kind is not str and not abs(value) < 1e300):
      raise ConfigError(f"--{name}={str(value)[:40]!r}: must be of type {kind.__name__}.")


def differences(old: Config, new: Config) -> list[str]:
  """The differences that prevent resuming: one line per setting that is not in `FREE`."""
  before, after = values(old), values(new)
  return [
    f"--{name}: was {before[name]}, now {after[name]}"
    for name in after
    if before[name] != after[name] and not name.startswith(FREE)
  ]


def check_ranges(config: Any) -> None:
  """Raises ConfigError for the first setting that is out of range."""
  for name, (value, field) in flatten(config).items():
    _check_one(name, value, field)


def as_flags(config: Config) -> list[str]:
  """The settings that are not the defaults, as flags: --name=value."""
  defaults = values(Config())
  return [
    f"--{name}={str(value).lower() if isinstance(value, bool) else value}"
    for name, value in values(config).items()
    if value != defaults[name]
  ]


def has_q_head(config: Config) -> bool:
  """Whether the model has a Q head: whether a loss trains it."""
  return config.loss.q > 0 or config.loss.q_search > 0


def _check_one(name: str, value: Any, field: dataclasses.Field) -> None:
  choices, low, high = (field.metadata[key] for key in ("choices", "minimum", "maximum"))
  if choices and value not in choices:
    raise ConfigError(f"--{name}={value}: must be one of {', '.join(choices)}.")
  if isinstance(value, float) and not math.isfinite(value):
    raise ConfigError(f"--{name}={value}: must be a finite number.")
  if isinstance(value, int) and high is None:
    high = INT32_MAX
  if low is not None and value < low:
    raise ConfigError(f"--{name}={value}: must be at least {low}.")
  if high is not None and value > high:
    raise ConfigError(f"--{name}={value}: must be at most {high}.")
