"""What TensorBoard gets beside the metrics: evaluations, settings, a text and the video."""

import json

import imageio.v2 as imageio
import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import SessionLog

from muzero_jax import config as configs
from muzero_jax.reporting import board
from tests.conftest import catch_config
from tests.runs.events_test import written

ROW = {"agent": "trained", "task": "catch", "protocol": "own", "episodes": 2}


@pytest.fixture
def folder(tmp_path):
  """A run with two evaluations of the agent and one of the random player."""
  config = catch_config(tmp_path, seed=7)
  (tmp_path / "config.json").write_text(json.dumps({"config": configs.values(config)}))
  rows = [
    ROW | {"env_steps": 100, "mean": 0.25},
    ROW | {"env_steps": 512, "mean": 0.5, "hns": 2.0, "intervals": {"mean": [0.25, 0.75]}},
    ROW | {"env_steps": 512, "mean": -1.0, "agent": "random"},
  ]
  (tmp_path / "evaluations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
  return tmp_path


def summaries(folder):
  return [(e.step, v) for e in written(board.write(folder)) for v in e.summary.value]


def test_evaluations_are_scalars_of_the_only_file(folder):
  board.write(folder)  # the second time it is written anew
  scalars = [(x, v.tag, v.simple_value) for x, v in summaries(folder) if v.tag[:10] == "evaluation"]
  assert scalars == [
    (100, "evaluation/own/mean", 0.25),
    (512, "evaluation/own/mean", 0.5),
    (512, "evaluation/own/hns", 2.0),
    (512, "evaluation/own/mean_low", 0.25),
    (512, "evaluation/own/mean_high", 0.75),
  ]
  started = [e.session_log.status for e in written(folder / board.FOLDER) if e.session_log.status]
  assert started == [SessionLog.START]


def test_settings_are_hyperparameters_and_a_text(folder):
  found = {v.tag: v for _, v in summaries(folder)}
  start = found["_hparams_/session_start_info"].metadata.plugin_data
  assert start.plugin_name == "hparams" and b"search.num_simulations" in start.content
  assert str(folder).encode() not in start.content
  (text,) = found["settings/text_summary"].tensor.string_val
  assert b"| --env.kind | catch |" in text


def test_the_newest_video_is_an_animated_image(folder):
  (folder / "video").mkdir()
  (folder / "video" / "100.mp4").write_bytes(b"no video")
  assert "video" not in [v.tag for _, v in summaries(folder)]
  frames = [np.full((64, 64, 3), 50 * t, np.uint8) for t in range(5)]
  imageio.mimwrite(folder / "video" / "512.mp4", frames, fps=10)
  ((step, value),) = [(x, v) for x, v in summaries(folder) if v.tag == "video"]
  shown = imageio.mimread(value.image.encoded_image_string, format="gif")  # type: ignore
  assert step == 512 and len(shown) == 3  # every second one
  assert np.abs(np.mean(shown[2][..., :3]) - 200) < 10
