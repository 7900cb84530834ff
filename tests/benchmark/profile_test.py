"""What a compiled program spends its time on."""

from muzero_jax.benchmark import profile

PROGRAM = """
HloModule jit_f, entry_computation_layout={(f32[4]{0})->f32[4]{0}}
%body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %dot.1 = f32[4]{0} dot(%x, %w), metadata={op_name="jit(f)/while/body/closed_call/jvp(Encoder)/Dense_0/dot_general" stack_frame_id=6}
  ROOT %add.2 = f32[4]{0:T(128)} fusion(%dot.1, %y), kind=kLoop, metadata={op_name="jit(f)/add"}
}
ENTRY %main (x: f32[4]) -> f32[4] {
  %while.3 = (s32[], /*index=1*/f32[4]{0}) while(%tuple), condition=%c, body=%body, metadata={op_name="jit(f)/while"}
  ROOT copy.4 = f32[4]{0} copy(%while.3)
}
"""


def test_costs_by_hand():
  """A product takes 2 + 4 s in two threads, an addition 1 s, a copy 1 s, in 4 ticks; the loop and
  foreign events do not count.
  """
  events = [
    ("dot.1", 2.0),
    ("dot.1", 4.0),
    ("add.2", 1.0),
    ("copy.4", 1.0),
    ("while.3", 9.0),
    ("end: dot.1", 3.0),
    ("python", 99.0),
  ]
  found = profile.largest(events, profile.operations(PROGRAM), 4)
  assert found == [
    {"operation": "jvp(Encoder)/Dense_0/dot_general", "share": 0.75, "seconds_per_tick": 1.5},
    {"operation": "add", "share": 0.125, "seconds_per_tick": 0.25},
    {"operation": "copy", "share": 0.125, "seconds_per_tick": 0.25},
  ]
  assert profile.lines(found)[0] == " 75.0%   1500.00 ms a tick  jvp(Encoder)/Dense_0/dot_general"
