"""Plays full episodes with the newest checkpoints of runs, and prints their scores.

muzero-jax evaluate --workdir=DIR[,DIR...] --episodes=N [--protocol=100k|machado]
    [--acting=greedy|sampled] [--json=FILE]
muzero-jax evaluate --aggregate --workdir=DIR[,DIR...] [--protocol=100k|machado]
    [--acting=greedy|sampled] [--json=FILE]

The scores are appended to evaluations.jsonl in each run's folder; for the file of an exported
agent (launch.export), in the folder FILE.results beside it. Several runs are combined into
one result. A folder without a run stands for all runs below it. With --aggregate nothing is played:
the newest evaluation of each run is read instead.
"""

import dataclasses
import json

from launch import cli
from muzero_jax.config import option


@dataclasses.dataclass(frozen=True)
class Options:
  workdir: str = option(
    "",
    "folder of the run, or one with runs below it, or the file of an exported agent; several, with "
    "commas between, are combined over seeds and games",
  )
  episodes: int = option(30, "full episodes to play with each run", minimum=1)
  protocol: str = option(
    "auto",
    "Atari: the protocol, which sets sticky actions and no-op starts; machado is called "
    "machado-minimal where the run has not all 18 actions; auto: that of the action set",
    choices=("auto", "100k", "machado"),
  )
  acting: str = option(
    "auto",
    "greedy: without exploration; sampled: as in training; auto: the run's --evaluation.acting",
    choices=("auto", "greedy", "sampled"),
  )
  num_envs: int = option(32, "environments that are stepped at the same time", minimum=1)
  seed: int = option(0, "added to the run's seed, to play other episodes", minimum=0, maximum=2**20)
  random: bool = option(False, "evaluate a random player instead of the agent")
  aggregate: bool = option(False, "play nothing: combine the newest evaluation in each folder")
  json: str = option("", "write the result of all folders to this file, too")


def main(argv: list[str]) -> None:
  """Evaluates the runs, or reads their evaluations, and combines them into one result."""
  from muzero_jax import flags

  options = flags.parse(argv, Options(), usage=__doc__)
  from muzero_jax.evaluation import aggregate
  from muzero_jax.runs import workdir

  folders = workdir.runs(options.workdir)
  agent = "random" if options.random else "trained"
  if options.json:
    cli.write(options.json, "")  # an unwritable file is reported before anything is played
  if options.aggregate:
    runs = [
      aggregate.newest_evaluation(folder, agent, options.protocol, options.acting)
      for folder in folders
    ]
  else:
    cli.use_devices(1)
    from muzero_jax.evaluation import saved

    how = options.protocol, options.acting
    more = dict(episodes=options.episodes, num_envs=options.num_envs, seed=options.seed)
    runs = [
      dataclasses.replace(run, row=saved.play(run.folder, agent, *how, **more))
      for run in saved.checked(folders, *how)
    ]
  if options.aggregate or options.json or len(runs) > 1:
    result = aggregate.aggregate(runs)
    print(aggregate.table(result))
    if options.json:
      cli.write(options.json, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
  cli.run(main)
