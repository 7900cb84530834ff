"""What several processes agree on, and what is refused before they connect."""

import os
import socket

import jax
import pytest

from launch import cli
from muzero_jax.config import ConfigError, StorageError
from muzero_jax.device import distributed


def test_alone_everything_returns_at_once():
  distributed.connect("")
  assert distributed.is_first() and distributed.processes() == 1
  assert distributed.agreed({"ticks": 3}) == {"ticks": 3}
  distributed.wait()
  distributed.check_same({"seed": 0})
  distributed.tell(15)
  distributed.failed(ValueError("gloo"))
  distributed.leave(1)
  assert not distributed.is_loss(ValueError("gloo"))


@pytest.mark.parametrize(
  ("words", "said"),
  [
    (dict(coordinator="", processes=2), "need --coordinator"),
    (dict(coordinator="", process=1), "need --coordinator"),
    (dict(coordinator="10.0.0.1", processes=2), "must be an address and a port"),
    (dict(coordinator="10.0.0.1:1", processes=2, process=2), "must be below --processes=2"),
    (dict(coordinator="10.0.0.1:99999", processes=2), "cannot listen on port 99999"),
  ],
)
def test_what_cannot_be_connected_is_refused(words, said):
  with pytest.raises(ConfigError, match=said):
    distributed.connect(**words)


def test_a_port_that_is_taken_is_refused():
  with socket.socket() as taken:
    taken.bind(("", 0))
    taken.listen()
    address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(ConfigError, match="Address already in use"):
      distributed.connect(address, processes=2)


@pytest.mark.parametrize(
  ("before", "after"),
  [
    ("--xla_a=1", "--xla_a=1 --xla_gpu_shard_autotuning=false"),
    ("--xla_gpu_shard_autotuning=true", "--xla_gpu_shard_autotuning=true"),
  ],
)
def test_processes_do_not_share_the_tuning_of_kernels(before, after, monkeypatch):
  """Unless one says so. Here the connection fails after that."""

  def fail(**options):
    assert options["num_processes"] == 2
    raise RuntimeError("nobody is there")

  monkeypatch.setenv("XLA_FLAGS", before)
  monkeypatch.setattr(jax.distributed, "initialize", fail)
  monkeypatch.setattr(jax.config, "update", lambda name, value: None)
  with pytest.raises(ConfigError, match="cannot be connected"):
    distributed.connect("10.0.0.1:29500", processes=2, process=1)
  assert os.environ["XLA_FLAGS"] == after


class Client:
  """What `distributed` needs of JAX's client, in one process."""

  def __init__(self):
    self.values, self.barriers = {}, []

  def key_value_set(self, name, value, allow_overwrite=False):
    assert allow_overwrite or name not in self.values
    self.values[name] = value

  def blocking_key_value_get(self, name, timeout):
    return self.values[name]

  def key_value_delete(self, name):
    del self.values[name]

  def wait_at_barrier(self, name, timeout):
    assert name not in self.barriers
    self.barriers.append(name)


@pytest.fixture
def groups(monkeypatch):
  """Makes this process one of two, which share a client."""
  client = Client()

  def become(process: int) -> distributed._Group:
    group = distributed._Group(client, process, 2)
    monkeypatch.setattr(distributed, "_group", group)
    return group

  return become


def test_process_0_decides(groups):
  """What it calls `agreed` with is what the other gets; only what has been read is deleted."""
  groups(0)
  assert [distributed.agreed(x) for x in ([8, 0], None, {"a": 1})] == [[8, 0], None, {"a": 1}]
  client = groups(1).client
  assert list(client.values) == ["agreed/3"]
  client.values |= {"agreed/1": "[8, 0]"}
  client.barriers.clear()
  assert distributed.agreed([5, 15]) == [8, 0] and not distributed.is_first()


def test_other_settings_are_named(groups):
  groups(0)
  distributed.check_same({"seed": 1, "log_every": 5})
  client = groups(1).client
  client.barriers.clear()
  with pytest.raises(ConfigError, match=r"process 1 .* \(--seed: 1 there, 2 here\)"):
    distributed.check_same({"seed": 2, "log_every": 5})


def test_a_signal_is_told_once(groups):
  client = groups(1).client
  distributed.tell(15)
  distributed.tell(2)
  assert client.values == {"signal": "15"}


def test_a_signal_of_another_process_is_passed_on_once(groups, monkeypatch):
  group, sent = groups(1), []
  monkeypatch.setattr(os, "kill", lambda process, number: sent.append((process, number)))
  assert not distributed.passed_on(15)
  group.client.values["signal"] = "15"
  distributed._listen(group)
  distributed.tell(15)
  assert sent == [(os.getpid(), 15)] and group.client.values == {"signal": "15"}
  assert [distributed.passed_on(number) for number in (2, 15, 15)] == [False, True, False]


def test_an_error_of_a_collective_is_a_loss(groups):
  groups(0)
  assert distributed.is_loss(ValueError("UNKNOWN: Gloo all-reduce failed: Connection reset"))
  assert distributed.is_loss(ConnectionResetError(104, "gloo: connection reset"))
  for own in (
    ValueError("No space left on device"),
    OSError(28, "No space left on device", "/shared/nccl_test/run"),
    BlockingIOError(11, "Resource temporarily unavailable"),
    StorageError("/shared/nccl_test/run: full"),
    ConfigError("--workdir=/shared/gloo: is a file."),
  ):
    assert not distributed.is_loss(own)


def test_a_command_that_lost_another_process_says_so(groups, monkeypatch, capsys):
  """Orbax raises an `OSError` where a process is lost in the middle of a save."""
  groups(0)

  def end(code):
    raise SystemExit(code)

  def main(_):
    raise TimeoutError("Timed out while waiting for async_write_complete barrier.")

  monkeypatch.setattr(distributed, "_end", end)
  with pytest.raises(SystemExit, match="1"):
    cli.ended(main)
  said = capsys.readouterr().err
  assert said.startswith("error: another process of this run has ended") and said.count("\n") == 1
