"""Generates docs/settings.md from `muzero_jax/config.py`: `python -m launch.settings`."""

import pathlib

from muzero_jax import flags
from muzero_jax.config import Config

if __name__ == "__main__":
  path = pathlib.Path(__file__).parent.parent / "docs" / "settings.md"
  path.write_text(flags.settings_document(Config()))
  print(f"wrote {path}")
