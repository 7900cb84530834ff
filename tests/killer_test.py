"""The phases that `tests.killer` sees in what a run has printed."""

import pytest

from tests import killer

# What a run of Catch printed, shortened within its lines.
SAID = """memory, each of 1 device(s): replay 0.006 GiB (65,536 steps on all)
1 device(s) with 64 environments and 256 examples per gradient step each
compiling ...
compiled in 50 s, temporary memory 7.5 MiB
filling the replay; learning starts at 2,048 steps
     2,048 steps      49.8 s  return -0.5729  unfinished 0  steps/s 7146  over 0 s left
learning from 2,048 steps on
     4,096 steps      50.5 s  return -0.5625  unfinished 0  loss 6.26  steps/s 2844
trained player: compiling ...
trained player: mean -1.00 [-1.00, -1.00], median -1.00 [-1.00, -1.00] (protocol own, 8 episodes)
""".splitlines()
AGAIN = [*SAID[:2], "This run has done its 4,096 steps; ask for more with --env_steps."]


@pytest.mark.parametrize(
  ("lines", "expected"),
  [
    ([], "starting"),
    (SAID[:2], "starting"),
    (SAID[:3], "compiling"),
    (SAID[:4], "compiling"),
    (SAID[:6], "training"),
    (SAID[:8], "training"),
    (SAID[:9], "evaluating"),
    (SAID[:10], "evaluated"),
    (AGAIN, "finished"),
  ],
)
def test_the_last_phase_that_is_shown(lines, expected):
  assert killer.phase("\n".join(lines)) == expected
