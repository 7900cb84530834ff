"""Writes an HTML report of a run, or of several runs side by side.

muzero-jax report --workdir=DIR[,DIR ...] [--output=FILE.html]

The report is a single file with learning curves, scores, a video and settings.
"""

import dataclasses

from launch import cli
from muzero_jax.config import option


@dataclasses.dataclass(frozen=True)
class Options:
  """The runs to report."""

  workdir: str = option("", "folder of the run, or of several with commas between")
  output: str = option(
    "", "the file; empty: report.html in the run's folder, or the current folder for several runs"
  )


def main(argv: list[str]) -> None:
  """Reads the runs and writes the report."""
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  from muzero_jax.reporting import page

  folders = [folder.strip() for folder in options.workdir.split(",")]
  print(f"report: {page.write(folders, options.output)}")


if __name__ == "__main__":
  cli.run(main)
