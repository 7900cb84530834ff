"""What limits a run on many devices, worked by hand."""

import dataclasses

import pytest

from launch import scaling as command
from muzero_jax.benchmark.scaling import Network, OneDevice, row, table
from muzero_jax.config import ConfigError

ONE = OneDevice(
  env_steps_per_second=1000,
  updates_per_step=0.1,
  frames_per_step=4,
  parameters=1_000_000,
  state=4_000_000,
  replay=2**30,
  saved_replay=0,
  frames_per_core=2000,
)
NETWORK = Network(devices_per_host=4, inside=1e9, between=1e8, latency=1e-4, disk=2e6)


def test_one_device_waits_for_nobody():
  found = row(ONE, NETWORK, 1, cores_per_device=2)
  assert (found.reduced, found.reduce_seconds, found.efficiency) == (0, 0, 1)
  assert found.cores_per_device == 2 and found.limit == "the device"
  assert found.checkpoint_seconds == 2


def test_four_hosts_by_hand():
  """16 devices: each sends 2 x 3/4 MB inside its host, and each host 2 x 3/4 MB to others: 1.5 ms
  and 15 ms, with 6 messages of 10 us and 4 of 100 us. At 100 updates a second 16.96 ms each make
  1 / 2.696 of the speed.
  """
  found = row(ONE, NETWORK, 16, cores_per_device=2)
  assert found.hosts == 4 and found.limit == "all-reduce"
  assert found.reduced == pytest.approx(1.5e6 + 1.5e6 / 4)
  assert found.reduce_seconds == pytest.approx(16.96e-3)
  assert found.efficiency == pytest.approx(1 / 2.696)
  assert found.env_steps_per_second == pytest.approx(16_000 / 2.696)
  assert found.replay == 2**30  # each device has its own
  saved = row(dataclasses.replace(ONE, saved_replay=2**20), NETWORK, 16, cores_per_device=2)
  assert saved.checkpoint == 4_000_000 + 16 * 2**20  # the parameters once, every replay
  assert saved.checkpoint_seconds == pytest.approx((4e6 + 2**24) / 2e6)


def test_emulators_without_cores():
  """1,000 steps of 4 frames keep two cores busy; half a core feeds a quarter."""
  found = row(ONE, NETWORK, 4, cores_per_device=0.5)
  assert (found.efficiency, found.limit) == (0.25, "emulators")
  assert "| 4 | 1 | 1,000 | 0.25 | emulators |" in table([found])
  assert "| 2.0 | 1.0 GiB |" in table([found])


def test_a_small_replay_is_in_mib():
  found = row(dataclasses.replace(ONE, replay=3 * 2**19), NETWORK, 4, cores_per_device=2)
  assert "| 2.0 | 1.5 MiB |" in table([found])


def test_games_of_the_device_need_no_emulators():
  found = row(dataclasses.replace(ONE, frames_per_step=0), NETWORK, 1, cores_per_device=0.1)
  assert (found.cores_per_device, found.efficiency, found.limit) == (0, 1, "the device")


def test_the_command(capsys):
  command.main(["scaling", "--preset=catch", "--steps_per_second=200000", "--counts=1,16"])
  lines = capsys.readouterr().out.splitlines()
  assert [line.split(" | ")[0] for line in lines[2:]] == ["| 1", "| 16"]
  assert [line.split(" | ")[4] for line in lines[2:]] == ["the device", "all-reduce"]


@pytest.mark.parametrize("words", [["--counts=8,x", "--steps_per_second=1"], ["--counts=8"]])
def test_mistakes_are_one_sentence(words):
  with pytest.raises(ConfigError, match=r"--counts=8,x|--steps_per_second is missing"):
    command.main(["scaling", "--preset=catch", *words])
