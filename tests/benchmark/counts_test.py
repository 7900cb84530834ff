"""Which part of a tick a kernel belongs to, and what moves most, by hand."""

from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import pytest

from muzero_jax.benchmark import counts, hlo
from muzero_jax.networks.resets import Resets
from muzero_jax.search.random import Random

# A tick: acting adds (96 bytes); the learner's loop negates (64 bytes), and copies (64 bytes) with
# no origin recorded.
TEXT = """HloModule jit_run, is_scheduled=true

%learn (a: (s32[], f32[8])) -> (s32[], f32[8]) {
  %a = (s32[], f32[8]{0}) parameter(0)
  %ai = s32[] get-tuple-element(%a), index=0
  %ax = f32[8]{0} get-tuple-element(%a), index=1
  %negated = f32[8]{0} negate(%ax), metadata={op_name="r/learning/while/neg"}
  %copied = f32[8]{0} copy(%negated)
  ROOT %at = (s32[], f32[8]{0}) tuple(%ai, %copied)
}

%more (c: (s32[], f32[8])) -> pred[] {
  %c = (s32[], f32[8]{0}) parameter(0)
  %ci = s32[] get-tuple-element(%c), index=0
  ROOT %lt = pred[] compare(%ci, %ci), direction=LT
}

%tick (b: (s32[], f32[8])) -> (s32[], f32[8]) {
  %b = (s32[], f32[8]{0}) parameter(0)
  %bi = s32[] get-tuple-element(%b), index=0
  %bx = f32[8]{0} get-tuple-element(%b), index=1
  %y = f32[8]{0} add(%bx, %bx), metadata={op_name="r/while/body/add"}
  %s = (s32[], f32[8]) tuple(%bi, %y)
  ROOT %l = (s32[], f32[8]) while(%s), condition=%more, body=%learn, metadata={op_name="/learning/"}
}

ENTRY %main (in: f32[8], at: s32[]) -> (s32[], f32[8]) {
  %in = f32[8]{0} parameter(0)
  %at = s32[] parameter(1)
  %first = (s32[], f32[8]{0}) tuple(%at, %in)
  ROOT %all = (s32[], f32[8]{0}) while(%first), condition=%more, body=%tick
}
"""


class Frames(NamedTuple):
  """Of the replay only what is looked at."""

  frame: jax.Array


def described(resets=None, ring=None) -> Any:
  """A run with three updates a tick, on average, and no tree."""
  learner = SimpleNamespace(resets=resets)
  parts = dict(updates=3, every=1, search=Random(), learner=learner, ring=ring)
  return cast(Any, SimpleNamespace(loop=SimpleNamespace(**parts)))


@pytest.fixture
def run() -> Any:
  return described()


def test_the_learner_has_all_of_its_loop(run):
  """Its condition (8 bytes for the numbers, 1 for the result) runs once more than its body."""
  acting, learning = counts.count(run, hlo.Program(TEXT))
  assert (acting.kernels, acting.bytes) == (1 + 1 + 4, 96 + 9 + 4 * 9)
  assert (learning.kernels, learning.bytes) == (6, 3 * (64 + 64))
  assert (acting.reads, learning.reads) == (1, 4)
  update, simulation = counts.inner(run, hlo.Program(TEXT))
  assert (update.kernels, update.bytes, simulation.kernels) == (2, 128, 0)


def test_the_heaviest_come_first(run):
  first, second, third, _ = counts.heaviest(run, hlo.Program(TEXT), 9)
  assert (first["origin"].rpartition("/")[2], first["kernels"], first["bytes"]) == ("neg", 3, 192)
  assert (second["origin"], second["code"], second["bytes"]) == ("", "copy", 192)
  assert third["bytes"] == 96 and len(counts.heaviest(run, hlo.Program(TEXT), 1)) == 1


@pytest.mark.parametrize(
  ("line", "times"),
  [
    ("u8[6,4,3]{2,1,0} copy(%frames)", 1),
    ("u8[3,4,6]{2,1,0} copy(%frames)", 1),  # in another order
    ("(u8[6,4,2]{2,1,0}, u8[6,4,1]{2,1,0}) fusion(%frames), kind=kLoop, calls=%cut", 1),
    ("(u8[6,4,1]{2,1,0}, u8[6,4,1]{2,1,0}) fusion(%frames), kind=kLoop, calls=%cut", 0),
    ("u8[2,4,3]{2,1,0} slice(%frames), slice={[0:2], [0:4], [0:3]}", 0),
  ],
)
def test_whole_copies_of_the_frames(line, times):
  """Six rows of four environments and three values: 72 bytes; also in two pieces."""
  text = f"HloModule m\n\nENTRY %main (frames: u8[6,4,3]) -> u8[6] {{\n  %x = {line}\n}}\n"
  ring = SimpleNamespace(init=lambda: Frames(jnp.zeros((6, 4, 3), jnp.uint8)))
  assert counts.copied(described(ring=ring), hlo.Program(text)) == 72 * times


def test_copies_inside_the_learner_count_for_each_update():
  """Eight floats are all frames here, 32 bytes: negated and copied in each of three updates, and
  added once while acting.
  """
  ring = SimpleNamespace(init=lambda: Frames(jnp.zeros(8)))
  assert counts.copied(described(ring=ring), hlo.Program(TEXT)) == 32 * (2 * 3 + 1)


def test_a_reset_counts_as_often_as_it_comes():
  """The learner's copy is in a loop of its own here, that of a reset after every fourth update."""
  inner = """%reset (d: (s32[], f32[8])) -> (s32[], f32[8]) {
  %d = (s32[], f32[8]{0}) parameter(0)
  %di = s32[] get-tuple-element(%d), index=0
  %dx = f32[8]{0} get-tuple-element(%d), index=1
  %fresh = f32[8]{0} negate(%dx), metadata={op_name="r/learning/while/resetting/while/neg"}
  ROOT %dt = (s32[], f32[8]{0}) tuple(%di, %fresh)
}

%due (e: (s32[], f32[8])) -> pred[] {
  %e = (s32[], f32[8]{0}) parameter(0)
  %ei = s32[] get-tuple-element(%e), index=0
  ROOT %lt = pred[] compare(%ei, %ei), direction=LT
}

%learn"""
  loop = (
    "  %begun = (s32[], f32[8]{0}) tuple(%ai, %negated)\n"
    "  ROOT %at = (s32[], f32[8]) while(%begun), condition=%due, body=%reset, "
    'metadata={op_name="r/learning/while/resetting/while"}\n'
  )
  start, _, rest = TEXT.replace("%learn", inner, 1).partition("  %copied")
  text = start + loop + rest.partition("%copied)\n")[2]
  _, learning = counts.count(described(Resets(period=4, end=100)), hlo.Program(text))
  condition = 3 * (1 + 1 / 4)  # once more than the body
  assert learning.kernels == 3 + 3 / 4 + condition
  assert learning.reads == 4 + condition
