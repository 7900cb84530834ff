"""Counts of a small program, by hand."""

import pytest

from muzero_jax.benchmark import hlo

# Two parameters; a loop of three rounds around a fusion that slices and one that updates in place;
# a loop whose number depends on data, around a copy; a branch.
TEXT = """HloModule jit_f, is_scheduled=true

%sliced (p.0: f32[8,4], p.1: s32[]) -> f32[1,4] {
  %p.0 = f32[8,4]{1,0} parameter(0)
  %p.1 = s32[] parameter(1)
  ROOT %ds = f32[1,4]{1,0} dynamic-slice(%p.0, %p.1, %p.1), dynamic_slice_sizes={1,4}
}

%updated (q.0: f32[8,4], q.1: f32[1,4], q.2: s32[]) -> f32[8,4] {
  %q.0 = f32[8,4]{1,0} parameter(0)
  %q.1 = f32[1,4]{1,0} parameter(1)
  %q.2 = s32[] parameter(2)
  ROOT %dus = f32[8,4]{1,0} dynamic-update-slice(%q.0, %q.1, %q.2, %q.2)
}

%body (b: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %b = (s32[], /*index=1*/f32[8,4]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%b), index=0
  %x = f32[8,4]{1,0} get-tuple-element(%b), index=1
  %row = f32[1,4]{1,0} fusion(%x, %i), kind=kLoop, calls=%sliced
  %y = f32[8,4]{1,0} fusion(%x, %row, %i), kind=kLoop, calls=%updated, metadata={op_name="a/b"}
  ROOT %t = (s32[], f32[8,4]{1,0}) tuple(%i, %y)
}

%few (c: (s32[], f32[8,4])) -> pred[] {
  %c = (s32[], f32[8,4]{1,0}) parameter(0)
  %ci = s32[] get-tuple-element(%c), index=0
  %n = s32[] constant(3)
  ROOT %lt = pred[] compare(%ci, %n), direction=LT
}

%copies (d: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %d = (s32[], f32[8,4]{1,0}) parameter(0)
  %di = s32[] get-tuple-element(%d), index=0
  %dx = f32[8,4]{1,0} get-tuple-element(%d), index=1
  %copy-start.1 = (f32[8,4]{1,0}, f32[8,4]{1,0}, u32[]) copy-start(%dx)
  %copy-done.1 = f32[8,4]{1,0} copy-done(%copy-start.1)
  ROOT %dt = (s32[], f32[8,4]{1,0}) tuple(%di, %copy-done.1)
}

%unknown (e: (s32[], f32[8,4])) -> pred[] {
  %e = (s32[], f32[8,4]{1,0}) parameter(0)
  %ei = s32[] get-tuple-element(%e), index=0
  ROOT %elt = pred[] compare(%ei, %ei), direction=LT
}

ENTRY %main (in: f32[8,4], at: s32[]) -> f32[8,4] {
  %in = f32[8,4]{1,0} parameter(0)
  %at = s32[] parameter(1)
  %start = (s32[], f32[8,4]{1,0}) tuple(%at, %in)
  %three = (s32[], f32[8,4]{1,0}) while(%start), condition=%few, body=%body
  %again = (s32[], f32[8,4]{1,0}) while(%three), condition=%unknown, body=%copies
  %known = (s32[], f32[8,4]{1,0}) while(%again), condition=%unknown, body=%copies, backend_config={"known_trip_count":{"n":"5"}}
  ROOT %out = f32[8,4]{1,0} get-tuple-element(%known), index=1
}
"""


@pytest.fixture
def program():
  return hlo.Program(TEXT)


def loops(program):
  return {x.name: x for x in program.computations["main"] if x.code == "while"}


def test_loops_tell_their_number_if_they_know_it(program):
  assert program.entry == "main"
  found = {name: program.trips(loop) for name, loop in loops(program).items()}
  assert found == {"three": 3, "again": None, "known": 5}


def test_every_kernel_is_met_as_often_as_it_runs(program):
  """3 rounds of 2 fusions; 7 and then 5 copies; and 8 conditions where the number is unknown."""
  times = {}
  for _, one, count in program.walk("main", lambda _: 7):
    if hlo.is_kernel(one):
      times[one.name] = times.get(one.name, 0) + count
  assert times == {"row": 3, "y": 3, "copy-start.1": 7 + 5, "elt": 8}


def test_slices_count_as_slices(program):
  """A row has 16 bytes, an index 4, all 8 rows 128."""
  body = {x.name: x for x in program.computations["body"]}
  assert program.moved("body", body["row"]) == 16 + 4 + 16
  assert program.moved("body", body["y"]) == 0 + 16 + 4 + 16
  assert program.in_place(body["y"]) and not program.in_place(body["row"])
  assert body["y"].origin == "a/b" and body["y"].operands == ("x", "row", "i")


@pytest.mark.parametrize(
  ("shape", "size"),
  [
    ("f32[8,4]{1,0:T(8,128)}", 128),
    ("(s32[], /*index=1*/bf16[3]{0}, pred[5])", 4 + 6 + 5),
    ("u8[]", 1),
    ("s4[6]", 3),
    ("token[]", 0),
  ],
)
def test_sizes_of_shapes(shape, size):
  assert hlo.nbytes(shape) == size


# As for a TPU: S(1) is its VMEM. A row is fetched while something else runs, a copy comes back.
FETCHED = """HloModule jit_g, is_scheduled=true

%scaled (r.0: f32[2,4], r.1: f32[8,4]) -> f32[2,4] {
  %r.0 = f32[2,4]{1,0} parameter(0)
  %r.1 = f32[8,4]{1,0} parameter(1)
  %some = f32[2,4]{1,0} slice(%r.1), slice={[0:2], [0:4]}
  ROOT %product = f32[2,4]{1,0} multiply(%r.0, %some)
}

ENTRY %main (in: f32[8,4]) -> f32[2,4] {
  %in = f32[8,4]{1,0:T(8,128)} parameter(0)
  %slice-start = ((f32[8,4]{1,0:T(8,128)}), f32[2,4]{1,0:T(8,128)S(1)}, s32[]{:S(2)}) slice-start(%in), slice={[0:2], [0:4]}
  %rows = f32[2,4]{1,0:T(8,128)S(1)} slice-done(%slice-start)
  %inside = f32[1,4]{1,0:T(8,128)S(1)} dynamic-slice(%rows, %rows, %rows), dynamic_slice_sizes={1,4}
  %fused = f32[2,4]{1,0:T(8,128)S(1)} fusion(%rows, %in), kind=kLoop, calls=%scaled
  %copy-start = (f32[2,4]{1,0:T(8,128)}, f32[2,4]{1,0:T(8,128)S(1)}, u32[]{:S(2)}) copy-start(%fused)
  ROOT %copy-done = f32[2,4]{1,0:T(8,128)} copy-done(%copy-start)
}
"""


def test_only_main_memory_counts():
  """Two of eight rows (32 bytes) are fetched; a kernel reads two more; two are written back."""
  program = hlo.Program(FETCHED)
  kernels = [x for x in program.computations["main"] if hlo.is_kernel(x)]
  moved = {x.name: program.moved("main", x) for x in kernels}
  assert moved == {"slice-start": 32, "inside": 0, "fused": 32, "copy-start": 32}
  assert hlo.main_memory("(f32[8]{0:S(1)}, f32[2]{0:T(8)})") == 8
