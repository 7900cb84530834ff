"""Without a search, it is DQN: Catch is learned as by a textbook's, which is written out here.

`python -m tests.learning.dqn_test` compares the two on MinAtar Breakout.
"""

import dataclasses
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import optax

from muzero_jax import build, flags
from muzero_jax import config as configs
from muzero_jax.envs import catch, gymnax
from muzero_jax.envs.pure import Game, PureEnvironment

PRESETS = pathlib.Path(__file__).parents[2] / "launch" / "presets"
GAMES, BATCH, PERIOD, WARMUP = 32, 128, 50, 64
TICKS, LONG = 1500, 3125  # of Catch and MinAtar Breakout
DISCOUNT, EPSILON, RATE = 0.99, 0.1, 2e-3


def network(params, frames):
  """Three layers: boards u8[N, ...] -> Q of every action, f32[N, A]."""
  x = frames.reshape(len(frames), -1) / 255
  for weight, bias in params[:-1]:
    x = jax.nn.relu(x @ weight + bias[None])
  return x @ params[-1][0] + params[-1][1][None]


def textbook(key, game: Game, ticks):
  """DQN (Mnih et al. 2015, algorithm 1) with double Q-learning and Adam, with a gradient step after
  every step in all environments. The replay forgets nothing.

  Returns:
    The sums of all rewards and of all episodes that end, at each tick, f32[ticks] each.
  """
  environment, optimizer = PureEnvironment(game, GAMES), optax.adam(RATE)
  keys = jax.random.split(key, 5)
  shapes = [(int(np.prod(game.frame_shape)), 64), (64, 64), (64, game.num_actions)]
  params = [
    (jax.random.normal(k, shape) / np.sqrt(shape[0]), jnp.zeros(shape[1]))
    for k, shape in zip(keys, shapes, strict=False)
  ]
  env, time = environment.recv(environment.reset(keys[3]))
  replay = {
    "frame": jnp.zeros((ticks, GAMES, *game.frame_shape), jnp.uint8),
    "action": jnp.zeros((ticks, GAMES), jnp.int32),
    "reward": jnp.zeros((ticks, GAMES)),
    "goes_on": jnp.zeros((ticks, GAMES)),
    "next": jnp.zeros((ticks, GAMES, *game.frame_shape), jnp.uint8),
    "counts": jnp.zeros((ticks, GAMES)),  # 0: a reset, which is no transition
  }

  def loss(params, target, batch):
    rows = jnp.arange(BATCH)
    best = network(params, batch["next"]).argmax(-1)
    after = network(target, batch["next"])[rows, best]
    goal = jax.lax.stop_gradient(batch["reward"] + DISCOUNT * batch["goes_on"] * after)
    error = network(params, batch["frame"])[rows, batch["action"]] - goal
    return jnp.mean(batch["counts"] * optax.huber_loss(error))

  def tick(carry, number):
    params, target, state, env, time, replay, key = carry
    key, *some = jax.random.split(key, 6)
    action = network(params, time.frame).argmax(-1).astype(jnp.int32)
    other = jax.random.randint(some[0], (GAMES,), 0, game.num_actions, jnp.int32)
    action = jnp.where(jax.random.uniform(some[1], (GAMES,)) < EPSILON, other, action)
    env, after = environment.recv(environment.send(env, action))
    row = dict(
      frame=time.frame,
      action=action,
      reward=after.reward,
      goes_on=after.discount,
      next=after.frame,
      counts=1.0 - time.last,
    )
    replay = {name: x.at[number].set(row[name]) for name, x in replay.items()}
    rows = jax.random.randint(some[2], (BATCH,), 0, number + 1)
    games = jax.random.randint(some[3], (BATCH,), 0, GAMES)
    batch = {name: x[rows, games] for name, x in replay.items()}
    updates, new = optimizer.update(jax.grad(loss)(params, target, batch), state)
    begun = number >= WARMUP
    params, state = jax.tree.map(
      lambda a, b: jnp.where(begun, a, b),
      (optax.apply_updates(params, updates), new),
      (params, state),
    )
    target = jax.tree.map(lambda a, b: jnp.where(number % PERIOD == 0, a, b), params, target)
    return (params, target, state, env, after, replay, key), (after.reward.sum(), after.last.sum())

  start = params, params, optimizer.init(params), env, time, replay, keys[4]
  return jax.lax.scan(tick, start, jnp.arange(ticks))[1]


def ours(seed, preset, ticks):
  """As `textbook`, with the settings of `ideas/dqn.flags` that are not its own."""
  config = flags.parse(
    [
      "train",
      f"--flagfile={PRESETS}/{preset}.flags",
      f"--flagfile={PRESETS}/ideas/dqn.flags",
      f"--seed={seed}",
      f"--env.num_envs={GAMES}",
      f"--learner.batch_size={BATCH}",
      f"--learner.updates_per_step={1 / GAMES}",
      f"--learner.target_period={PERIOD}",
      f"--replay.warmup={WARMUP * GAMES}",
      f"--search.q_epsilon={EPSILON}",
      f"--replay.capacity={ticks * GAMES}",
      f"--targets.discount={DISCOUNT}",
      f"--optimizer.learning_rate={RATE}",
      "--targets.n_step=1",
    ],
    configs.Config(),
  )
  run = build.build(config)
  learner = dataclasses.replace(run.loop.learner, mean=lambda x: x)
  loop = dataclasses.replace(run.loop, learner=learner, monitors=())

  def tick(carry, _):
    shared, local, _ = loop.tick(*carry)
    time = local.actor.env.time
    return (shared, local), (time.reward.sum(), time.last.sum())

  state = jax.device_get(run.shared()), jax.tree.map(lambda x: x[0], run.local())
  return jax.jit(lambda state: jax.lax.scan(tick, state, None, length=ticks)[1])(state)


def late(sums):
  """The mean return of an episode in the last third: rewards over episodes."""
  rewards, episodes = (np.asarray(x)[-len(x) // 3 :].sum() for x in sums)
  return float(rewards / episodes)


def test_catch_is_learned_as_by_a_textbook():
  """One of ten actions is random, so that no one reaches 1; random play gets -0.6. Three seeds of
  the textbook's differ by less than 0.05.
  """
  learn = jax.jit(jax.vmap(lambda key: textbook(key, catch.catch(), TICKS)))
  known = [late(x) for x in zip(*learn(jax.random.split(jax.random.key(0), 3)), strict=True)]
  assert min(known) > 0.7, known
  assert abs(late(ours(0, "catch", TICKS)) - np.mean(known)) < 0.1, known


def main() -> None:
  """Prints what both learn of MinAtar Breakout in 100,000 steps, three seeds each; in minutes."""
  learn = jax.jit(lambda key: textbook(key, gymnax.make("Breakout-MinAtar"), LONG))
  for seed, key in enumerate(jax.random.split(jax.random.key(0), 3)):
    both = late(learn(key)), late(ours(seed, "minatar_breakout", LONG))
    print("seed {}: textbook {:.2f}, ideas/dqn {:.2f}".format(seed, *both), flush=True)


if __name__ == "__main__":
  main()
