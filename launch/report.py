"""Makes a page of a run, or of several side by side: one HTML file with curves, scores, video and
settings, which loads nothing.

muzero-jax report --workdir=DIR[,DIR ...] [--output=FILE.html]
"""

import dataclasses

from launch import cli
from muzero_jax.config import option


@dataclasses.dataclass(frozen=True)
class Options:
  """What to report."""

  workdir: str = option("", "folder of the run, or of several with commas between")
  output: str = option(
    "", "the file; empty: report.html in the run's folder, of several runs in the current folder"
  )


def main(argv: list[str]) -> None:
  """Reads the flags, reads the runs, writes."""
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  from muzero_jax.reporting import page

  folders = [folder.strip() for folder in options.workdir.split(",")]
  print(f"report: {page.write(folders, options.output)}")


if __name__ == "__main__":
  cli.run(main)
