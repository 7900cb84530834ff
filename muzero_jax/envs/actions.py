"""What is known of a game's actions: their names, and which of them have the same effect."""

from muzero_jax.envs import envpool

# The actions of ALE, in its order, and those of the minimal action sets of some games.
ALL = (
  *("NOOP", "FIRE", "UP", "RIGHT", "LEFT", "DOWN"),
  *("UPRIGHT", "UPLEFT", "DOWNRIGHT", "DOWNLEFT", "UPFIRE", "RIGHTFIRE", "LEFTFIRE", "DOWNFIRE"),
  *("UPRIGHTFIRE", "UPLEFTFIRE", "DOWNRIGHTFIRE", "DOWNLEFTFIRE"),
)
_SIDEWAYS = ("NOOP", "FIRE", "RIGHT", "LEFT")
_MINIMAL = {
  "Breakout-v5": _SIDEWAYS,
  "Freeway-v5": ("NOOP", "UP", "DOWN"),
  "Pong-v5": (*_SIDEWAYS, "RIGHTFIRE", "LEFTFIRE"),
  "SpaceInvaders-v5": (*_SIDEWAYS, "RIGHTFIRE", "LEFTFIRE"),
}
_CONTROL = {"CartPole-v1": ("left", "right"), "MountainCar-v0": ("left", "stay", "right")}

# Classes of actions that have the same effect. Pong's minimal set: stay, up, down, each with fire
# and without. MinAtar's full set (stay, left, up, right, down, fire): an action that the game does
# not use is one of staying.
_EQUIVALENT = {("envpool", "Pong-v5", False): ((0, 1), (2, 4), (3, 5))} | {
  ("gymnax", f"{game}-MinAtar", True): classes
  for game, classes in {
    "Asterix": ((0, 5), (1,), (2,), (3,), (4,)),
    "Breakout": ((0, 2, 4, 5), (1,), (3,)),
    "Freeway": ((0, 1, 3, 5), (2,), (4,)),
    "SpaceInvaders": ((0, 2, 4), (1,), (3,), (5,)),
  }.items()
}


def names(kind: str, task: str, num_actions: int) -> tuple[str, ...]:
  """The names of the actions, in their order; () where they are not known.

  Args:
    kind: the setting --env.kind.
    task: the setting --env.task.
    num_actions: of the environment. Atari has 18 or those that the game uses.
  """
  if kind == "catch":
    return ("left", "stay", "right")
  if kind in ("envpool", "gymnasium") and task in _CONTROL:
    return _CONTROL[task]
  if not is_atari(kind, task):
    return ()
  known = ALL if num_actions == len(ALL) else _MINIMAL.get(task, ())
  return known if len(known) == num_actions else ()


def playable(kind: str, task: str, num_actions: int) -> dict[str, int]:
  """Names of the actions and their numbers, of those that have an effect in the game.

  {} where they are not known. Of all 18 actions of Atari, Pong has no use for UP, for example.
  Arguments as in `names`.
  """
  known = names(kind, task, num_actions)
  used = _MINIMAL.get(task, known) if is_atari(kind, task) else known
  return {name: number for number, name in enumerate(known) if name in used}


def equivalent(kind: str, task: str, full_action_set: bool) -> tuple[tuple[int, ...], ...]:
  """The classes of equivalent actions, as indices; () if none are known.

  Args:
    kind: the setting --env.kind.
    task: the setting --env.task.
    full_action_set: the setting --env.full_action_set.
  """
  return _EQUIVALENT.get((kind, task, full_action_set), ())


def is_atari(kind: str, task: str) -> bool:
  """Whether this environment is an Atari game of EnvPool. Arguments as in `names`."""
  return kind == "envpool" and envpool.is_atari(task)
