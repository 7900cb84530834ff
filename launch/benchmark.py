"""Measures a preset: the emulators alone, the environment layer, search, learner, and the whole loop, all in one process.

python -m launch.benchmark --flagfile=launch/presets/NAME.flags [--json=FILE] [--flag=value ...]
"""

import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from launch import cli
from muzero_jax.config import Config, option


@dataclasses.dataclass(frozen=True)
class Options(Config):
  """A run's settings, and how to measure."""

  json: str = option("", "write the figures to this file, too")
  ticks: int = option(64, "ticks per repeat", minimum=1)
  repeats: int = option(5, "the median of so many is reported", minimum=1)


@dataclasses.dataclass(frozen=True)
class Stopwatch:
  """Calls functions that do `ticks` ticks' worth of work each, and reports seconds per tick."""

  ticks: int
  repeats: int

  def __call__(self, *works: Callable[[], Any]) -> list[list[float]]:
    """The repeats of each function, after one that is not counted; several are called in turn, so that they can be compared."""
    import jax

    seconds = [[] for _ in works]
    for _ in range(self.repeats + 1):
      for work, kept in zip(works, seconds, strict=True):
        begun = time.perf_counter()
        jax.block_until_ready(work())
        kept.append((time.perf_counter() - begun) / self.ticks)
    return [kept[1:] for kept in seconds]


def main(argv: list[str]) -> None:
  """Reads the flags, builds the run, measures its parts."""
  from muzero_jax import config as configs
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  configs.check(options)
  cli.use_devices(options.cpu_devices)
  from muzero_jax import experiment

  run = experiment.build(options)
  watch = Stopwatch(options.ticks, options.repeats)
  own, layer = watch(emulators(options, run), environment(run, options.ticks))
  parts = {"emulators": own, "environment": layer}
  for name, part in {"search": search, "learner": learner, "loop": loop}.items():
    (parts[name],) = watch(part(run, options.ticks))
  ratio = statistics.median(a / b for a, b in zip(own, layer, strict=True))
  medians = {name: dict(median=statistics.median(x), least=min(x), most=max(x)) for name, x in parts.items()}
  figures = report(run, medians, ratio)
  if options.json:
    Path(options.json).write_text(json.dumps(figures, indent=2) + "\n")


def emulators(options: Options, run: Any) -> Callable[[], None]:
  """EnvPool's own stepping: one pool with as many games and threads as all devices have, driven from Python."""
  import numpy as np

  from muzero_jax import components
  from muzero_jax.envs.envpool import EnvPool

  games = components.make_environment(options, num_pools=1, seed=1, num_envs=run.width)
  if not isinstance(games, EnvPool):
    return lambda: None  # a pure-JAX game has no emulators
  pool = games.pools[0]
  actions = np.random.default_rng(0).integers(0, games.spec.num_actions, (options.ticks, run.width)).astype(np.int32)
  ids = np.arange(run.width, dtype=np.int32)
  pool.async_reset()
  pool.recv()

  def work() -> None:
    for action in actions:
      pool._send([ids, ids, action])
      pool._recv()

  return work


def environment(run: Any, ticks: int) -> Callable[[], Any]:
  """Random play through `send` and `recv` in the compiled loop, frames stored in the replay and stacked; no network, no learner."""
  import jax
  import jax.numpy as jnp

  from muzero_jax.search.random import Random

  def look(params, frames):
    frames = jax.lax.optimization_barrier(frames)  # stacked in full, though one pixel of each is looked at
    return frames.reshape(frames.shape[0], -1)[:, :1].astype(jnp.float32)

  num_actions = run.loop.environment.spec.num_actions
  model = run.loop.model._replace(
    encode=look,
    predict=lambda params, hidden: (jnp.broadcast_to(hidden, (hidden.shape[0], num_actions)), jnp.zeros((hidden.shape[0], 1))),
    decode=lambda logits: logits[:, 0],
  )
  return program(run, dataclasses.replace(run.loop, model=model, search=Random(), every=2**30, warmup=2**30), ticks)


def loop(run: Any, ticks: int) -> Callable[[], Any]:
  """The real thing, learning from the first tick on."""
  return program(run, dataclasses.replace(run.loop, warmup=run.loop.ring.smallest(run.loop.ring.stack, run.loop.ring.window)), ticks)


def program(run: Any, tested: Any, ticks: int) -> Callable[[], Any]:
  """A loop, compiled; every call goes on where the one before stopped."""
  import numpy as np

  from muzero_jax import parallel

  state = [run.shared(), run.local()]
  compiled = parallel.pmapped(tested.run, run.devices, donate=(0, 1)).lower(*state, np.int32(0)).compile()

  def work() -> Any:
    *state[:], metrics = compiled(*state, np.int32(ticks))
    return metrics

  work()  # past the warm-up
  return work


def search(run: Any, ticks: int) -> Callable[[], Any]:
  """Encoding and searching as many roots as there are games, without games."""
  import jax
  import jax.numpy as jnp
  import numpy as np

  from muzero_jax import parallel
  from muzero_jax.networks.model import root

  def think(shared, local, count):
    params = shared.learner.params["model"]

    def body(_, carry):
      key, frames = carry
      key, search_key = jax.random.split(key)
      decision = run.loop.search(params, search_key, root(run.loop.model, params, frames))
      return key, frames.at[:, 0].add((decision.value.sum() > 1e30).astype(frames.dtype))

    frames = run.loop.ring.recent(local.replay)
    _, frames = jax.lax.fori_loop(0, count, body, (local.key, frames))
    return shared, local.learned, jnp.ravel(frames)[0]

  state = run.shared(), run.local()
  compiled = parallel.pmapped(think, run.devices).lower(*state, np.int32(0)).compile()
  return lambda: compiled(*state, np.int32(ticks))[2]


def learner(run: Any, ticks: int) -> Callable[[], Any]:
  """The gradient steps of so many ticks, on a replay of random play."""
  import jax
  import numpy as np

  from muzero_jax import parallel

  def learn(shared, local, count):
    def body(i, carry):
      state, _ = carry
      replay = local.replay
      key = jax.random.fold_in(local.key, i)
      due = i % run.loop.every == 0
      state, _, norm, _ = run.loop.learn(due, state, replay, key)
      return state, norm

    return shared, local.learned, jax.lax.fori_loop(0, count, body, (shared.learner, local.learned))[1]

  shared, local = run.shared(), run.local()
  fill = dataclasses.replace(run.loop, every=2**30, warmup=2**30)
  filled = parallel.pmapped(fill.run, run.devices, donate=(1,))(shared, local, np.int32(64))[1]
  compiled = parallel.pmapped(learn, run.devices).lower(shared, filled, np.int32(0)).compile()
  return lambda: compiled(shared, filled, np.int32(ticks))[2]


def report(run: Any, parts: dict[str, dict[str, float]], ratio: float) -> dict[str, Any]:
  """Prints a table and returns it."""
  import jax

  width, steps = run.width, run.loop
  updates = steps.updates / steps.every  # per tick
  total = parts["loop"]["median"]
  known = sum(parts[name]["median"] for name in ("environment", "search", "learner"))
  print(f"{jax.devices()[0].device_kind}, {run.devices.size} device(s), {width} games, {updates:g} gradient steps a tick")
  print(f"{'part':12} {'ms a tick':>10} {'least':>8} {'most':>8} {'steps/s':>10} {'of the loop':>12}")
  for name, seconds in parts.items():
    ms = [1e3 * seconds[key] for key in ("median", "least", "most")]
    speed = f"{width / seconds['median']:10,.0f}" if seconds["median"] > 1e-6 else f"{'-':>10}"
    print(f"{name:12} {ms[0]:10.2f} {ms[1]:8.2f} {ms[2]:8.2f} {speed} {seconds['median'] / total:12.0%}")
  print(f"{'rest':12} {1e3 * (total - known):10.2f} {'':8} {'':8} {'':10} {1 - known / total:12.0%}")
  print(f"environment layer: {ratio:.3f} of the emulators' own rate (median of pairs measured in turn)")
  rate = width / total
  print(f"loop: {rate:,.0f} steps/s, {rate * steps.search.simulations:,.0f} simulations/s, {updates / total:,.2f} updates/s")
  return dict(
    device=jax.devices()[0].device_kind,
    devices=run.devices.size,
    games=width,
    updates_per_tick=updates,
    seconds_per_tick=parts,
    environment_ratio=ratio,
    env_steps_per_second=rate,
    simulations_per_second=rate * steps.search.simulations,
    updates_per_second=updates / total,
  )


if __name__ == "__main__":
  cli.run(main)
