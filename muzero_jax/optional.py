"""Libraries that are not needed: what is said where one is missing."""

import contextlib
from collections.abc import Iterator

from muzero_jax.config import ConfigError


@contextlib.contextmanager
def needed(by: str, extra: str, error: type[ConfigError] = ConfigError) -> Iterator[None]:
  """A context in which an optional library is imported.

  Args:
    by: what needs which library; it begins the message.
    extra: that brings the library: pip install 'muzero_jax[extra]'.
    error: is raised.

  Raises:
    ConfigError: it is not installed.
  """
  try:
    yield
  except ImportError as missing:
    raise error(f"{by} ({missing}): pip install 'muzero_jax[{extra}]'.") from missing
