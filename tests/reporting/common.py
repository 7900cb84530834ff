"""What tests of reporting share: folders of runs."""

import json

from muzero_jax import config as configs
from tests import builders


def write_run(folder, rows=(), evaluations=(), **settings):
  """A run's folder; settings by dotted name with '__' for the dots."""
  folder.mkdir(parents=True)
  config = builders.config(workdir=str(folder), **settings)
  facts = {
    "versions": {"jax": "0.10.77"},
    "devices": ["cpu"],
    "command": ["train", "--seed"],
    "revision": "abc1234",
  }
  (folder / "config.json").write_text(json.dumps({"config": configs.values(config), **facts}))
  for name, lines in (("metrics", rows), ("evaluations", evaluations)):
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
  return folder


def metric_rows(returns, every=1000, **more):
  return [
    {
      "env_steps": every * (i + 1),
      "seconds": 60.0 * (i + 1),
      "env_steps_per_second": 16.5,
      "episode/return": value,
      **more,
    }
    for i, value in enumerate(returns)
  ]


def score(mean, env_steps=3000, agent="trained", **more):
  row = {
    "env_steps": env_steps,
    "task": "Pong-v5",
    "protocol": "100k",
    "agent": agent,
    "episodes": 7,
    "mean": mean,
    "median": mean + 1,
  }
  return {**row, "iqm": mean + 2, "hns": mean + 3, "returns": [mean], "lengths": [5], **more}


def write_moments(folder, trees, search="gumbel"):
  """A video, and a file of moments with these trees; the path of the latter."""
  numbers = dict.fromkeys(("score", "value", "predicted_value", "came", "disagreement"), 0.5)
  more = {"predicted_reward": 0.5, "reward": 1.0, "surprise": 0.5, "why": ["x"], "episode": 0}
  moment = {**numbers, **more, "step": 3, "picture": "aGFsbG8="}
  path = folder / "video" / "1000.json"
  path.parent.mkdir(exist_ok=True)
  path.with_suffix(".mp4").write_bytes(b"film")
  path.write_text(json.dumps({"search": search, "moments": [{**moment, "tree": t} for t in trees]}))
  return path
