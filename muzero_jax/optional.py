"""Optional libraries: the error message where one is not installed."""

import contextlib
from collections.abc import Iterator

from muzero_jax.config import ConfigError


@contextlib.contextmanager
def needed(
  by: str, extra: str, error: type[ConfigError] = ConfigError, instead: str = ""
) -> Iterator[None]:
  """A context in which an optional library is imported.

  Args:
    by: what needs which library; it begins the message.
    extra: that brings the library: pip install 'muzero_jax[extra]'.
    error: the type of the error.
    instead: ends the message: what can be done without the library.

  Raises:
    ConfigError: it is not installed.
  """
  try:
    yield
  except ImportError as missing:
    raise error(f"{by} ({missing}): pip install 'muzero_jax[{extra}]'{instead}.") from missing
