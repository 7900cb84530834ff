"""Devices that are not here, and what is said without their compiler."""

import pytest

from muzero_jax.config import ConfigError
from muzero_jax.device import chips


def test_a_missing_compiler_is_one_sentence(monkeypatch):
  monkeypatch.setattr(chips.importlib.util, "find_spec", lambda name: None)
  for name, extra in (("h100", "compile-gpu"), ("v5e", "compile-tpu")):
    with pytest.raises(ConfigError, match=rf'--target={name}: .*pip install "\.\[{extra}\]"'):
      chips.described(name)


def test_a_missing_parent_module_counts_as_missing():
  assert chips.EXTRAS["gpu"][1] == "jax_plugins.xla_cuda12"
  assert chips.missing_extra("gpu") in (None, "compile-gpu")


@pytest.mark.parametrize("count", [0, 9])
def test_too_many_devices_are_refused(monkeypatch, count):
  monkeypatch.setattr(chips, "missing_extra", lambda platform: None)
  with pytest.raises(ConfigError, match=f"--devices={count}: must be 1 to 8"):
    chips.described("h100", count)


@pytest.mark.parametrize(("count", "processes"), [(4, 3), (6, 4), (2, 4), (4, 0)])
def test_devices_that_cannot_be_divided_are_refused(monkeypatch, count, processes):
  monkeypatch.setattr(chips, "missing_extra", lambda platform: None)
  with pytest.raises(ConfigError, match=f"--processes={processes}: .*divide --devices={count}"):
    chips.described("h100", count, processes)


def test_a_host_of_a_slice():
  """Two hosts of a TPU v4 have two layers of 2 x 2 chips, as they have in reality."""
  assert chips.host([2, 4], 1) == [2, 4, 1]
  assert chips.host([2, 4], 2) == [2, 2, 1]
  assert chips.host([2, 4], 8) == [1, 1, 1]
  assert chips.host([2, 2, 2], 2) == [2, 2, 1]
  assert chips.host([2, 2, 2], 4) == [2, 1, 1]


def test_libtpu_that_is_in_use_is_one_sentence(monkeypatch):
  def busy(**words):
    raise chips.jax.errors.JaxRuntimeError("Internal error when accessing lockfile.")

  monkeypatch.setattr(chips, "missing_extra", lambda platform: None)
  monkeypatch.setattr(chips.topologies, "get_topology_desc", busy)
  with pytest.raises(ConfigError, match="libtpu serves one process at a time"):
    chips.described("v5e")


def test_every_chip_has_a_whole_description():
  for chip in chips.CHIPS.values():
    assert chip.platform in chips.EXTRAS
    assert set(chip.peak) == {"float32", "bfloat16"}
    if chip.platform == "gpu":
      said = chips.DEVICE.format(**chips._whole(chip))
      assert f"core_count: {chip.described['cores']}" in said and "{" + "{" not in said


def test_this_process_has_its_own_devices():
  target = chips.local()
  assert (target.platform, target.devices.size, target.attached) == ("cpu", 2, True)
