"""What a run takes, by hand."""

import pytest

from muzero_jax import build
from muzero_jax.benchmark import memory
from muzero_jax.config import ConfigError


def test_sizes_by_hand(make_config):
  """Catch: 2 devices x 4 games, 512 steps of replay; a hidden state of the smallest MLP is 64
  floats.
  """
  run = build.build(make_config(targets__reanalyse=0.5, search__num_simulations=3))
  sizes = memory.sizes(run)
  params = sizes["parameters"] // 2  # and the target network
  assert sizes["replay"] == run.loop.ring.nbytes()
  assert 2 * params <= sizes["optimizer"] < 2 * params + 64  # Adam's two moments, and its counts
  # Roots: half of 8 examples with 2 + 1 steps each, more than the 4 games. Nodes: the root and 3. 3
  # actions.
  assert sizes["search tree"] == 12 * 4 * (4 * 64 + 4 * (6 + 6 * 3))
  assert sizes["unrolled hidden states"] == 8 * 3 * 64 * 4
  assert memory.sizes(build.build(make_config(search__kind="none")))["search tree"] == 0
  # A search that focuses makes twice the simulations; all 8 x 3 roots, for values.
  again = make_config(
    search__num_simulations=3,
    search__focus=True,
    loss__uncertainty=0.25,
    targets__bootstrap="search",
    search__tree="batched",
  )
  node = 4 * 64 + 4 * (6 + 6 * 3) + 9 * 7
  assert memory.sizes(build.build(again))["search tree"] == 24 * 7 * node


def test_the_plan_is_a_sentence_or_a_refusal(make_config, monkeypatch):
  run = build.build(make_config(replay__capacity=51_200))
  said = memory.check(run)
  assert (
    "each of 2 device(s): replay 0.00" in said
    and "51,200 steps on all" in said
    and "parameters" in said
  )
  needed = 2 * sum(memory.sizes(run).values())
  monkeypatch.setattr(memory, "available", lambda _: needed)
  with pytest.raises(
    ConfigError, match=r"--replay\.capacity=51200: .* about (\d+) steps would fit"
  ) as refused:
    memory.check(run)
  fitting = int(str(refused.value).split("about ")[1].split()[0])
  for share, fits in ((1.0, True), (1.3, False)):
    other = build.build(make_config(replay__capacity=int(share * fitting) // 8 * 8))
    if fits:
      assert memory.check(other)
    else:
      with pytest.raises(ConfigError):
        memory.check(other)
  with pytest.raises(ConfigError, match="would fit"):  # two of them do not
    memory.check(build.build(make_config(replay__capacity=fitting // 8 * 8)), replays=2)
  monkeypatch.setattr(memory, "available", lambda _: 1000)
  with pytest.raises(ConfigError, match=r"besides the replay.*--env\.num_envs"):
    memory.check(run)
