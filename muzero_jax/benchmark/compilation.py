"""Compiles the whole program of a run for its target, attached or not, and says what it takes."""

import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from muzero_jax import actor
from muzero_jax.benchmark import counts, flops, hlo, memory
from muzero_jax.build import Run
from muzero_jax.device import parallel
from muzero_jax.device.chips import Chip
from muzero_jax.loop import Local, Shared

PARTS = ("replay", "parameters", "optimizer")  # of the arguments, those of known size
LOWERED = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}  # platform -> JAX's name for it in lowering


@dataclasses.dataclass(frozen=True)
class Program:
  """A run's compiled program."""

  text: str  # XLA's, after all optimizations
  seconds: float  # that lowering and compiling took
  arguments: int  # bytes per device of all arguments
  aliased: int  # of these, the bytes that results are written into
  temporary: int
  code: int
  triton: bool  # whether products of matrices are kernels of XLA's own on a GPU; else cuBLAS's


def compiled(run: Run) -> Program:
  """Compiles the program that `train` runs. No array is created, and no emulator is started.

  Raises:
    jax.errors.JaxRuntimeError: XLA cannot compile it; it does not fit into memory, for example.
  """
  begun = time.perf_counter()
  lowered = (
    parallel.pmapped(run.loop.run_ticks, run.devices, donate=(0, 1))
    .trace(*arguments(run))
    .lower(lowering_platforms=(LOWERED[run.target.platform],))
  )
  triton = run.target.platform == "gpu"
  try:
    program = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    if "Couldn't find output tile sizes" not in str(error):
      raise
    # On a GPU XLA would try tilings until one works; here it takes a default, which does not suit
    # every product.
    program = lowered.compile(compiler_options={"xla_gpu_enable_triton_gemm": False})
    triton = False
  sizes = program.memory_analysis()
  return Program(
    program.as_text(),
    time.perf_counter() - begun,
    sizes.argument_size_in_bytes,
    sizes.alias_size_in_bytes,
    sizes.temp_size_in_bytes,
    sizes.generated_code_size_in_bytes,
    triton,
  )


def arguments(run: Run) -> tuple[Any, Any, Any]:
  """Shapes, dtypes and shardings of the program's arguments: shared, local, and the tick count."""
  environment, key = run.loop.environment, jax.random.key(0)
  spec = environment.spec

  def shared() -> Shared:
    return Shared(run.loop.learner.init(key), jnp.zeros((), jnp.int32))

  def local() -> Local:
    state = actor.new_actor(environment.reset(key), spec.num_envs, spec.num_actions)
    return Local(state, run.loop.ring.init(), key, jnp.zeros(()))

  def placed(tree: Any, spec: P, *lead: int) -> Any:
    sharding = NamedSharding(run.devices, spec)
    return jax.tree.map(
      lambda x: jax.ShapeDtypeStruct((*lead, *x.shape), x.dtype, sharding=sharding), tree
    )

  return (
    placed(jax.eval_shape(shared), P()),
    placed(jax.eval_shape(local), P(parallel.AXIS), run.devices.size),
    placed(jax.ShapeDtypeStruct((), jnp.int32), P()),
  )


def report(run: Run, chip: Chip, program: Program) -> dict[str, Any]:
  """What a program takes of each device, ready for JSON. Counts are per tick, sizes in bytes."""
  text = hlo.Program(program.text)
  taken = program.arguments + program.temporary + program.code
  return dict(
    target=chip.name,
    devices=run.devices.size,
    processes=run.devices.size // len(parallel.own(run.devices)),
    compile_seconds=program.seconds,
    memory=memory.sizes(run)
    | dict(
      arguments=program.arguments,
      aliased=program.aliased,
      temporary=program.temporary,
      code=program.code,
      headroom=int(chip.memory) - taken,
    ),
    fits=taken <= chip.memory,
    frames_copied=counts.copied(run, text),
    float64="f64[" in program.text,
    triton=program.triton,
    heaviest=counts.heaviest(run, text, 30),
  ) | work(run, chip, text)


def work(run: Run, chip: Chip, text: hlo.Program) -> dict[str, Any]:
  """What each device does in a tick, by the program and by the chip's published figures."""
  acting, learning = counts.count(run, text)
  operations = flops.flops(run)
  peak = chip.peak[run.config.network.precision]
  figures: dict[str, Any] = {}
  for name, part, each in (
    ("acting", acting, operations["act"]),
    ("learning", learning, operations["learn"]),
  ):
    each /= run.devices.size
    figures[name] = dataclasses.asdict(part) | dict(
      operations=each,
      seconds=dict(arithmetic=each / peak, memory=part.bytes / chip.bandwidth)
      | (dict(launches=part.seconds) if chip.platform == "gpu" else {}),
    )
  update, simulation = counts.inner(run, text)
  figures |= dict(update=dataclasses.asdict(update), simulation=dataclasses.asdict(simulation))
  totals = {
    key: figures["acting"]["seconds"][key] + figures["learning"]["seconds"][key]
    for key in figures["acting"]["seconds"]
  }
  bound = max(totals, key=lambda key: totals[key])
  return figures | dict(estimate=totals | dict(bound=bound))


def lines(figures: dict[str, Any]) -> list[str]:
  """Formats the result of `report` as text."""
  found, mib = figures["memory"], 2**20
  named = {name: found[name] for name in PARTS}
  other = found["arguments"] - sum(named.values())
  head = (
    f"{figures['target']}, {figures['devices']} device(s) of {figures['processes']} process(es): "
    f"compiled in {figures['compile_seconds']:.0f} s, and "
    f"{'fits' if figures['fits'] else 'DOES NOT FIT'}; all figures are for one device"
  )
  parts = ", ".join(f"{name} {size / mib:,.1f}" for name, size in named.items())
  lines = [
    head,
    f"memory, MiB: {parts}, other arguments {other / mib:,.1f}, temporary "
    f"{found['temporary'] / mib:,.1f} (in it, by calculation: search tree "
    f"{found['search tree'] / mib:,.1f}, unrolled hidden states "
    f"{found['unrolled hidden states'] / mib:,.1f}), program {found['code'] / mib:,.1f}; "
    f"headroom {found['headroom'] / mib:,.0f}",
    f"in place: {found['aliased'] / found['arguments']:.2%} of the arguments; copies of all frames "
    f"of the replay: {figures['frames_copied'] / mib:,.1f} MiB a tick; float64: "
    f"{'yes' if figures['float64'] else 'none'}"
    + ("; products by Triton" if figures["triton"] else ""),
    f"{'a tick':10} {'GFLOP':>10} {'MB moved':>10} {'kernels':>9} {'host reads':>11}   "
    "least time, ms",
  ]
  for name in ("acting", "learning"):
    part = figures[name]
    times = ", ".join(f"{key} {1e3 * value:.3g}" for key, value in part["seconds"].items())
    lines.append(
      f"{name:10} {part['operations'] / 1e9:10,.1f} {part['bytes'] / 1e6:10,.1f} "
      f"{part['kernels']:9,.0f} {part['reads']:11,.1f}   {times}"
    )
  for name in ("simulation", "update"):
    part = figures[name]
    if part["kernels"]:
      lines.append(
        f"one {name:10}: {part['kernels']:,.0f} kernels, {part['reads']:,.0f} host reads"
      )
  totals = {key: value for key, value in figures["estimate"].items() if key != "bound"}
  return [
    *lines,
    f"estimate: a tick takes at least {1e3 * max(totals.values()):.3g} ms, bound by "
    f"{figures['estimate']['bound']}",
  ]
